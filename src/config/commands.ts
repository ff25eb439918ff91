// The commands: what each does, its words, and an example that works.
import type { CommandName } from './row.ts';

/**
 * `words` are the arguments without a flag, `<needed>` or `[optional]`; `hidden` commands are reached by
 * --mode.
 */
export type CommandRow = {
  readonly usage?: string;
  readonly words: readonly string[];
  readonly summary: string;
  readonly details: string;
  readonly examples: readonly string[];
  readonly group: 'Run' | 'Functions' | 'Nodes' | 'About';
  readonly hidden?: true;
};

export const COMMANDS: Record<CommandName, CommandRow> = {
  up: {
    words: [],
    summary: 'Start a control plane and one edge on this machine.',
    details:
      'Everything is kept in the data directory: database, artifacts, keys, cache. The first start writes ' +
      'an admin token and a profile there, so that `edge deploy` in the same directory needs no further ' +
      'setting. SIGTERM or Ctrl-C lets running requests end; a second one stops at once.',
    examples: ['edge up --demo', 'edge up --data-dir /srv/edge --listen :80'],
    group: 'Run',
  },
  cp: {
    usage: '--mode=cp [options]',
    words: [],
    summary: 'Start a control plane: functions, versions, routes, deployments, nodes.',
    details:
      'Edges join it with a token of `edge join-token`. The first start writes an admin token to ' +
      '<data-dir>/admin-token and a profile for the CLI.',
    examples: ['edge --mode=cp --cp-listen :8080 --data-dir /srv/edge'],
    group: 'Run',
    hidden: true,
  },
  edge: {
    usage: '--mode=edge --cp-url URL [--join-token TOKEN] [options]',
    words: [],
    summary: 'Start an edge node, which answers requests with the functions of its control plane.',
    details:
      'The first start needs a join token; later ones do not. The edge keeps answering while the control ' +
      'plane is away, also after its own restart.',
    examples: [
      'edge --mode=edge --cp-url http://cp.internal --join-token TOKEN --labels region=tokyo,latency_ms=12',
    ],
    group: 'Run',
    hidden: true,
  },
  run: {
    words: ['<file>'],
    summary: 'Serve one module on every path, without a control plane.',
    details:
      'The module is checked, compiled and run exactly as on an edge. Nothing is kept but its compiled code.',
    examples: [
      'edge run hello.wasm --listen 3000',
      'edge run hello.wasm --env GREETING=hi --isolation reuse',
    ],
    group: 'Run',
  },
  deploy: {
    words: ['<file>'],
    summary: 'Upload a module, deploy it, and wait until every matching node has it.',
    details:
      'Makes the function when there is none of this name, else a new version of it; a file that is the ' +
      'latest version already is deployed as it is. Prints id, version, sha256 and the URL. Calling it ' +
      'again after a failure is safe.',
    examples: [
      'edge deploy hello.wasm --name hello --route /hello',
      "edge deploy api.wasm --route '/api/*' --host api.example.com --selector \"region == 'tokyo'\"",
    ],
    group: 'Functions',
  },
  functions: {
    words: [],
    summary: 'List the functions.',
    details: 'One line per function: name, id, project, latest published version.',
    examples: ['edge functions', 'edge functions --json'],
    group: 'Functions',
  },
  versions: {
    words: ['<name>'],
    summary: 'List the versions of a function.',
    details: 'The newest comes first. A pending version has no artifact yet.',
    examples: ['edge versions hello'],
    group: 'Functions',
  },
  inspect: {
    words: ['<name>', '[version]'],
    summary: 'Show what a version is: settings, sizes, imports.',
    details: 'Without a version it shows the latest one.',
    examples: ['edge inspect hello', 'edge inspect hello 1.0.1 --json'],
    group: 'Functions',
  },
  routes: {
    words: ['[name]'],
    summary: 'List routes, of one function or of all.',
    details: 'One line per route: methods, host, path, function, priority.',
    examples: ['edge routes', 'edge routes hello'],
    group: 'Functions',
  },
  status: {
    words: ['<name>'],
    summary: 'Show where a function is deployed, and what each node says of it.',
    details: 'A node is pending, loading, cached or error; with an error its own sentence is shown.',
    examples: ['edge status hello'],
    group: 'Functions',
  },
  rollback: {
    words: ['<name>', '[version]'],
    summary: 'Go back to the version that was deployed before, or to the one that is named.',
    details: 'Waits until every matching node has it, as deploy does.',
    examples: ['edge rollback hello', 'edge rollback hello 1.0.0'],
    group: 'Functions',
  },
  undeploy: {
    words: ['<name>'],
    summary: 'Take a function off every node; its versions are kept.',
    details: 'Its routes answer 404 from then on. `edge deploy` brings it back.',
    examples: ['edge undeploy hello'],
    group: 'Functions',
  },
  delete: {
    words: ['<name>'],
    summary: 'Delete a function with its versions and routes.',
    details: 'Refused while it is deployed: undeploy it first.',
    examples: ['edge undeploy hello && edge delete hello'],
    group: 'Functions',
  },
  nodes: {
    words: [],
    summary: 'List the nodes.',
    details: 'One line per node: id, pop, status, labels, version of the program, last heartbeat.',
    examples: ['edge nodes'],
    group: 'Nodes',
  },
  'join-token': {
    words: [],
    summary: 'Make a one-time token with which an edge joins.',
    details: 'It is shown once and ends after an hour or with its first use.',
    examples: [
      'edge join-token',
      'EDGE_JOIN_TOKEN=$(edge join-token) edge --mode=edge --cp-url http://cp.internal:8080',
    ],
    group: 'Nodes',
  },
  version: {
    words: [],
    summary: 'Print the version of this program.',
    details: 'With --json also those of what it is built on.',
    examples: ['edge version'],
    group: 'About',
  },
  config: {
    words: ['[format]'],
    summary: 'Print every setting: flag, variable, default, bounds, meaning.',
    details: 'Flags beat variables, variables beat defaults. The format is text or markdown.',
    examples: ['edge config', 'edge config --json', 'edge config markdown'],
    group: 'About',
  },
};

export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];
