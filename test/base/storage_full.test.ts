// A full disk is told from other failures, however deep the cause lies.
import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { isStorageFull } from '../../src/base/durable.ts';

const coded = (code: string): Error => Object.assign(new Error(code), { code });

/** What SQLite throws where its file may not grow. */
function full(): unknown {
  const database = new Database(':memory:');
  database.run('create table t (a)');
  database.run('pragma max_page_count = 2');
  try {
    for (let row = 0; row < 100; row += 1) database.run(`insert into t values ('${'x'.repeat(500)}')`);
  } catch (failure) {
    return failure;
  }
  return null;
}

describe('A disk', () => {
  test.each([
    ['that SQLite finds full', full()],
    ['without room for a file', coded('ENOSPC')],
    ['whose quota is used up', coded('EDQUOT')],
    ['that is read-only', coded('EROFS')],
    ['that is read-only to SQLite', coded('SQLITE_READONLY_DBMOVED')],
    ['that a query was refused by', new Error('query', { cause: coded('SQLITE_FULL') })],
  ])('%s is full', (_, failure) => {
    expect(isStorageFull(failure)).toBe(true);
  });

  test.each([
    ['is broken', coded('EIO')],
    ['is locked', coded('SQLITE_BUSY')],
    ['has nothing to do with it', new Error('x')],
    ['is a text', 'ENOSPC'],
  ])('that %s is not', (_, failure) => {
    expect(isStorageFull(failure)).toBe(false);
  });

  test('is not looked for in a circle of causes', () => {
    const failure = new Error('x');
    failure.cause = failure;
    expect(isStorageFull(failure)).toBe(false);
  });
});
