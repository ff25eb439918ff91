// The command line and the environment: the command and settings that they give, and how they are refused.
import { describe, expect, test } from 'bun:test';
import { COMMAND_NAMES, COMMANDS } from '../../src/config/commands.ts';
import { configHome } from '../../src/config/directories.ts';
import { formatAddress } from '../../src/config/kinds.ts';
import { parseCommandLine } from '../../src/config/parse.ts';
import { printSettings } from '../../src/config/print.ts';
import { settingsOf } from '../../src/config/settings.ts';

const EDGE = ['--mode=edge', '--cp-url', 'http://cp:8080'];

/** The settings of a command line that is accepted. */
function settings(argv: string[], env: Record<string, string> = {}): Record<string, unknown> {
  const parsed = parseCommandLine(argv, env);
  if (parsed.kind !== 'command') throw new Error(JSON.stringify(parsed));
  return parsed.settings;
}

/** The message of a usage error. */
function refusal(argv: string[], env: Record<string, string> = {}): string {
  const parsed = parseCommandLine(argv, env);
  return parsed.kind === 'usage' ? parsed.message : `accepted: ${parsed.kind}`;
}

function hint(argv: string[]): string | null {
  const parsed = parseCommandLine(argv, {});
  return parsed.kind === 'usage' ? parsed.hint : `accepted: ${parsed.kind}`;
}

describe('A mode', () => {
  test.each([
    [['--mode=cp'], {}, 'cp'],
    [['--mode', 'cp'], {}, 'cp'],
    [['--cp-listen', '9000', '--mode=cp'], {}, 'cp'],
    [EDGE, {}, 'edge'],
    [[], { MODE: 'cp' }, 'cp'],
    [['--cp-url', 'http://cp'], { MODE: 'edge' }, 'edge'],
    [['--mode=cp'], { MODE: 'edge' }, 'cp'],
    [['version'], { MODE: 'cp' }, 'version'],
    [['--version'], {}, 'version'],
  ])('%j with %j selects the command %s', (argv, env, command) => {
    expect(parseCommandLine(argv, env as Record<string, string>)).toMatchObject({ kind: 'command', command });
  });

  test.each([
    [['--mode=moon'], {}, '--mode: expected cp or edge, not "moon"'],
    [['--mode'], {}, '--mode: expected cp or edge, not ""'],
    [[], { MODE: 'moon' }, 'MODE: expected cp or edge, not "moon"'],
    [['--mode=edge'], {}, '--mode=edge needs --cp-url URL (or CP_URL): the control plane it belongs to'],
  ])('%j with %j is refused', (argv, env, message) => {
    expect(refusal(argv, env as Record<string, string>)).toBe(message);
  });
});

describe('A setting', () => {
  test.each([
    ['nodeId', 'NODE_ID', 'tokyo-1', 'tokyo-1'],
    ['popId', 'POP_ID', 'tokyo', 'tokyo'],
    ['cpUrl', 'CP_URL', 'http://other:1/', 'http://other:1'],
    ['listen', 'LISTEN_PORT', '3100', { host: '127.0.0.1', port: 3100 }],
    ['cacheSizeGb', 'CACHE_SIZE_GB', '0.5', 0.5],
    ['maxHotInstances', 'MAX_HOT_INSTANCES', '4', 4],
    ['heartbeatIntervalSecs', 'HEARTBEAT_INTERVAL_SECS', '5', 5],
    ['dataDir', 'EDGE_DATA_DIR', '/srv/edge', '/srv/edge'],
    ['joinToken', 'EDGE_JOIN_TOKEN', 'secret', 'secret'],
    ['labels', 'EDGE_LABELS', 'region=tokyo,latency_ms=12', { region: 'tokyo', latency_ms: 12 }],
  ])('%s is read from the variable %s', (name, variable, text, value) => {
    expect(settings(['--mode=edge'], { CP_URL: 'http://cp', [variable]: text })[name]).toEqual(value);
  });

  test.each([
    ['url', 'EDGE_URL', 'https://cp.example.com/base/', 'https://cp.example.com/base'],
    ['token', 'EDGE_TOKEN', 'abc', 'abc'],
  ])('%s of a client command is read from the variable %s', (name, variable, text, value) => {
    expect(settings(['functions'], { [variable]: text })[name]).toBe(value);
  });

  test('given by a flag beats its variable, which beats the default', () => {
    expect(settings(['--mode=cp'])['dataDir']).toBe('./.edge');
    expect(settings(['--mode=cp'], { EDGE_DATA_DIR: '/a' })['dataDir']).toBe('/a');
    expect(settings(['--mode=cp'], { EDGE_DATA_DIR: '' })['dataDir']).toBe('./.edge');
    expect(settings(['--mode=cp', '--data-dir=/b'], { EDGE_DATA_DIR: '/a' })['dataDir']).toBe('/b');
  });

  test.each([
    ['127.0.0.1:3000', '127.0.0.1:3000'],
    ['3000', '127.0.0.1:3000'],
    [':3000', '0.0.0.0:3000'],
    ['[::1]:0', '[::1]:0'],
    ['edge.internal:65535', 'edge.internal:65535'],
  ])('for an address accepts %s and reads %s', (text, address) => {
    const { listen } = settings(['up', '--listen', text]) as { listen: { host: string; port: number } };
    expect(formatAddress(listen)).toBe(address);
  });

  test('that repeats collects its values, and keeps the commas of an --env value', () => {
    const argv = [
      'deploy',
      'a.wasm',
      '--env',
      'A=1,2',
      '--env',
      'B==',
      '--method',
      'GET',
      '--method',
      'PUT,GET',
    ];
    expect(settings(argv)).toMatchObject({ env: { A: '1,2', B: '=' }, method: ['GET', 'PUT'] });
  });

  test('for labels reads numbers and truth values', () => {
    const { labels } = settings(['up', '--labels', 'a=1', '--labels', 'b=-2.5,c=true,d=1.2.3,e=']) as {
      labels: unknown;
    };
    expect(labels).toEqual({ a: 1, b: -2.5, c: true, d: '1.2.3', e: '' });
  });
});

describe('A wrong command line', () => {
  test.each([
    [['up', '--listn', 'x'], "unknown option '--listn' (Did you mean --listen?)"],
    [['uup'], "unknown command 'uup' (Did you mean up?)"],
    [['deploy'], "missing required argument 'file'"],
    [['--mode=cp', 'x'], 'too many arguments for --mode=cp. Expected 0 arguments but got 1: x.'],
    [['deploy', 'a', 'b'], "too many arguments for 'deploy'. Expected 1 argument but got 2: a, b."],
    [['deploy', 'a', '--name'], "option '--name <NAME>' argument missing"],
    [
      ['deploy', 'a', '--name', 'A b'],
      '--name: expected 1 to 63 lower-case letters, digits and dashes, not "A b"',
    ],
    [
      ['deploy', 'a', '--memory-pages', '-3'],
      '--memory-pages: expected a whole number of pages of 64 KiB from 1 to 4096, not "-3"',
    ],
    [
      ['deploy', 'a', '--memory-pages', '1e3'],
      '--memory-pages: expected a whole number of pages of 64 KiB from 1 to 4096, not "1e3"',
    ],
    [['deploy', 'a', '--isolation', 'none'], '--isolation: expected clean or reuse, not "none"'],
    [
      ['deploy', 'a', '--env', '1=2'],
      '--env: expected NAME=VALUE, where NAME has letters, digits and underscores and does not start with ' +
        'a digit, not "1=2"',
    ],
    [['deploy', 'a', '--version', '1.0'], '--version: expected a semantic version such as 1.2.3, not "1.0"'],
    [
      ['up', '--listen', '127.0.0.1:70000'],
      '--listen: expected HOST:PORT, :PORT or PORT, not "127.0.0.1:70000"',
    ],
    [['up', '--listen', '1', '--listen', '2'], '--listen: expected one value, not "1 2"'],
    [
      ['up', '--labels', 'a=1,a=2'],
      '--labels: expected NAME=VALUE, at most 64, each NAME once, not "a=1,a=2"',
    ],
    [
      ['nodes', '--url', 'ftp://x'],
      '--url: expected an http or https URL such as http://127.0.0.1:8080, not "ftp://x"',
    ],
    [
      ['nodes', '--url', 'http://a:b@x'],
      '--url: expected an http or https URL such as http://127.0.0.1:8080, not "http://a:b@x"',
    ],
  ])('%j is refused with one line that names what is wrong', (argv, message) => {
    expect(refusal(argv)).toBe(message);
  });

  test.each([
    [['deploy'], 'Usage: edge deploy <file>. `edge deploy --help` lists the options.'],
    [['up', '--listn', 'x'], '`edge up --help` lists the options.'],
    [['--mode=cp', '--listn', 'x'], '`edge --mode=cp --help` lists the options.'],
    [['--listen', 'x'], 'Options follow a command. `edge --help` lists the commands.'],
    [['uup'], '`edge --help` lists the commands.'],
    [['up', '--mode=cp'], '--mode takes the place of a command: edge --mode=cp or edge --mode=edge.'],
    [['up', '--listen', 'x'], null],
  ])('%j has a hint where its message does not say what to do', (argv, expected) => {
    expect(hint(argv)).toBe(expected);
  });

  test('that comes from a variable names the variable', () => {
    expect(refusal(['up'], { CACHE_SIZE_GB: 'much' })).toBe(
      'CACHE_SIZE_GB: expected a number of GiB from 0.01 to 100000, not "much"',
    );
  });

  test('never shows a secret, and shortens a long value', () => {
    expect(refusal([...EDGE, '--join-token', ''])).toBe(
      '--join-token: expected a text of 1 to 4096 characters',
    );
    expect(refusal(['up', '--listen', 'x'.repeat(1_000)]).length).toBeLessThan(200);
  });
});

describe('Help', () => {
  test.each(COMMAND_NAMES)('of %s explains it, lists its settings and shows its examples', (name) => {
    const argv = name === 'cp' || name === 'edge' ? [`--mode=${name}`, '--help'] : [name, '--help'];
    const parsed = parseCommandLine(argv, {});
    if (parsed.kind !== 'help') throw new Error(JSON.stringify(parsed));
    expect(parsed.text.replaceAll(/\s+/g, ' ')).toContain(COMMANDS[name].details);
    for (const [, row] of settingsOf(name)) expect(parsed.text).toContain(row.flag);
    for (const example of COMMANDS[name].examples) expect(parsed.text).toContain(example);
  });

  test('of the program names every command and both modes', () => {
    for (const argv of [[], ['--help'], ['help']]) {
      const parsed = parseCommandLine(argv, {});
      if (parsed.kind !== 'help') throw new Error(JSON.stringify(parsed));
      for (const name of COMMAND_NAMES)
        expect(parsed.text).toContain(name === 'cp' || name === 'edge' ? `--mode=${name}` : name);
    }
  });

  test('of a command that is not known is refused, with a suggestion', () => {
    expect(refusal(['help', 'deplyo'])).toBe("unknown command 'deplyo' (Did you mean deploy?)");
    expect(refusal(['help', '--mode=moon'])).toBe('--mode: expected cp or edge, not "moon"');
  });

  test('is the same after `help` as with --help', () => {
    for (const argv of [['up'], ['--mode=edge'], ['edge'], ['help']]) {
      const parsed = parseCommandLine(['help', ...argv], {});
      const asked = argv[0] === 'help' ? [] : argv;
      expect(parsed).toEqual(parseCommandLine([...asked, '--help'], {}));
      expect(parsed.kind).toBe('help');
    }
  });

  test('shows examples that the program accepts', () => {
    const words = (example: string): string[] =>
      [...example.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
        ([, double, single, bare]) => double ?? single ?? bare ?? '',
      );
    for (const name of COMMAND_NAMES) {
      for (const example of COMMANDS[name].examples) {
        for (const part of example.split(' && ')) {
          const argv = words(part.replace(/^\w+=\$\([^)]*\) /, '').replace(/^edge /, ''));
          expect(`${part}: ${parseCommandLine(argv, {}).kind}`).toBe(`${part}: command`);
        }
      }
    }
  });
});

test.each([
  [{ XDG_CONFIG_HOME: '/c', HOME: '/h' }, '/c'],
  [{ XDG_CONFIG_HOME: 'relative', HOME: '/h' }, '/h/.config'],
  [{}, null],
])('The environment %o gives the configuration directory %s', (env, directory) => {
  expect(configHome(env)).toBe(directory);
});

describe('The table of settings', () => {
  const rows = settingsOf();

  test('has defaults that are allowed values', () => {
    for (const [name, { kind, initial }] of rows) {
      if (initial === null) continue;
      const parsed = kind.parse(initial === '' ? [] : [initial]);
      expect(`${name} ${parsed.ok}`).toBe(`${name} true`);
    }
  });

  test('has a flag and a variable of its own for each setting, and a sentence', () => {
    const variables = rows.map(([, row]) => row.variable).filter((variable) => variable !== null);
    expect(new Set(rows.map(([, row]) => row.flag)).size).toBe(rows.length);
    expect(new Set(variables).size).toBe(variables.length);
    for (const [, { meaning }] of rows) expect(meaning).toMatch(/^[A-Za-z].*\.$/);
  });

  test('is printed in full as text, as Markdown and as JSON', () => {
    for (const [, { flag, meaning }] of rows) {
      for (const format of ['text', 'markdown', 'json'] as const)
        expect(printSettings(format)).toContain(flag);
      expect(printSettings('text')).toContain(meaning);
    }
    expect(JSON.parse(printSettings('json'))).toHaveLength(rows.length + 1);
    expect(printSettings('markdown').trim().split('\n')).toHaveLength(rows.length + 3);
  });
});
