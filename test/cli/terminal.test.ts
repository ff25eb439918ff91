// What the terminal shows: failures with a hint, tables, and the progress of slow work.
import { describe, expect, test } from 'bun:test';
import { createManualClock } from '../../src/base/clock.ts';
import { CliFailure } from '../../src/cli/failure.ts';
import { createRecorder } from './control_plane.ts';

describe('A failure', () => {
  test('is one line with its code, and one line with what to do next', () => {
    const terminal = createRecorder();
    terminal.fail(new CliFailure('function_not_found', 'There is no function x.'));
    terminal.fail(new CliFailure('some_code', 'Alone.'));
    terminal.fail(new Error('broken'));
    expect(terminal.err).toEqual([
      'edge: function_not_found: There is no function x.\n  `edge functions` lists the functions.\n',
      'edge: some_code: Alone.\n',
      'edge: broken\n',
    ]);
    expect(terminal.out).toEqual([]);
  });

  test('cannot control the terminal with the text of a server', () => {
    const terminal = createRecorder();
    terminal.fail(new CliFailure('x', 'a\u001b[2Jb\r\nc\u202ed'));
    terminal.print('a\u0007b');
    expect(terminal.err.join('')).toBe('edge: x: a [2Jb c d\n');
    expect(terminal.out.join('')).toBe('a b\n');
  });
});

test('A table has columns as wide as their widest cell', () => {
  const terminal = createRecorder();
  terminal.printTable([
    ['A', 'LONG'],
    ['wide cell', 'b'],
    ['c', ''],
  ]);
  expect(terminal.out.join('')).toBe('A          LONG\nwide cell  b\nc\n');
});

describe('A meter', () => {
  test('shows nothing when the work takes less than a second', async () => {
    const clock = createManualClock();
    const terminal = createRecorder(clock, true);
    const meter = terminal.openMeter({ total: 10 });
    meter.update(1, 'one');
    await clock.advance(999);
    meter.update(9, 'nine');
    meter.close();
    expect(terminal.err).toEqual([]);
  });

  test('is redrawn in place on a terminal, at most ten times a second, and erased at the end', async () => {
    const clock = createManualClock();
    const terminal = createRecorder(clock, true);
    const meter = terminal.openMeter({ total: 10 });
    await clock.advance(1_000);
    meter.update(5, 'half');
    meter.update(6, 'too soon to draw again');
    await clock.advance(100);
    meter.update(10, 'all');
    meter.close();
    const half = `${'█'.repeat(12)}${'░'.repeat(12)}`;
    expect(terminal.err).toEqual([
      `\r\u001b[2K${half} half`,
      `\r\u001b[2K${'█'.repeat(24)} all`,
      '\r\u001b[2K',
    ]);
  });

  test('is one plain line where stderr is not a terminal', async () => {
    const clock = createManualClock();
    const terminal = createRecorder(clock, false);
    const meter = terminal.openMeter({ total: 0 });
    await clock.advance(1_000);
    meter.update(0, 'uploading');
    await clock.advance(1_000);
    meter.update(0, 'still uploading');
    meter.close();
    expect(terminal.err).toEqual(['uploading\n']);
  });
});
