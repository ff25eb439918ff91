// The README: its commands and links exist, and its table of settings is what the program prints.
import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { printSettings } from '../src/config/print.ts';

const ROOT = resolve(import.meta.dir, '..');
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

describe('The README', () => {
  test('shows the settings as the program prints them', () => {
    expect(readme).toContain(printSettings('markdown').trimEnd());
  });

  test('names the two commands, and package.json has them', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    for (const name of ['start', 'test']) {
      expect(readme).toContain(`npm ${name}`);
      expect(Object.keys(scripts)).toContain(name);
    }
    expect(readFileSync(join(ROOT, '.ci/run'), 'utf8')).toContain('npm test');
  });

  test('links to files that exist', () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path ?? '');
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});
