// The commands: what each does, its words, and examples that work.
import type { CommandName } from './row.ts';

export type CommandRow = {
  /** The usage line, where it is not `edge <command> [options] <words>`. */
  readonly usage?: string;
  /** Arguments without a flag: `<required>` or `[optional]`. */
  readonly words: readonly string[];
  readonly summary: string;
  readonly details: string;
  readonly examples: readonly string[];
  readonly group: 'Run' | 'Functions' | 'Nodes' | 'About';
  /** Not in the list of commands: it is chosen with --mode. */
  readonly hidden?: true;
};

export const COMMANDS: Record<CommandName, CommandRow> = {
  up: {
    words: [],
    summary: 'Start a control plane and one edge on this machine.',
    details:
      'The data directory holds everything: database, artifacts, keys and cache. The first start writes ' +
      'an admin token and a profile there, so that `edge deploy` works in the same directory without ' +
      'further settings. SIGTERM or Ctrl-C stops the server once running requests have finished; a second ' +
      'one stops it at once.',
    examples: ['edge up --demo', 'edge up --data-dir /srv/edge --listen :80'],
    group: 'Run',
  },
  cp: {
    usage: '--mode=cp [options]',
    words: [],
    summary: 'Start a control plane, which manages functions, versions, routes, deployments and nodes.',
    details:
      'The first start writes an admin token to <data-dir>/admin-token, and a profile that the client ' +
      'commands read. Edges join with a token from `edge join-token`.',
    examples: ['edge --mode=cp --cp-listen :8080 --data-dir /srv/edge'],
    group: 'Run',
    hidden: true,
  },
  edge: {
    usage: '--mode=edge --cp-url URL [--join-token TOKEN] [options]',
    words: [],
    summary: 'Start an edge node, which runs the functions that its control plane deploys to it.',
    details:
      'The first start needs a join token, later starts do not. With another token a node joins again, where its ' +
      'control plane refuses it or is another one; otherwise the token is not used. The edge keeps answering while the control ' +
      'plane is unreachable, even after a restart of its own.',
    examples: ['edge --mode=edge --cp-url http://cp.internal --join-token TOKEN --pop-id nrt'],
    group: 'Run',
    hidden: true,
  },
  run: {
    words: ['<file>'],
    summary: 'Serve one module on every path, without a control plane.',
    details:
      'The module is checked, compiled and run as on an edge. Only its compiled code is kept, so that the ' +
      'next start is faster. Where this machine cannot compile it for now, the module answers from the ' +
      'interpreter and is compiled again.',
    examples: [
      'edge run hello.wasm --listen 3000',
      'edge run hello.wasm --env GREETING=hi --isolation reuse',
    ],
    group: 'Run',
  },
  deploy: {
    words: ['<file>'],
    summary: 'Upload a module, deploy it, and wait until every matching node is ready.',
    details:
      'Creates the function, or a new version of it. When neither the file nor the settings differ from ' +
      'the latest version, deploys that one. Prints id, version, SHA-256 and URL. Run it again after a ' +
      'failure: it continues where it stopped. ' +
      'With --pop or --selector only those nodes change. Without either, every target that the function has ' +
      'moves to the version; a new function goes to every node. A target that no node matches is refused. ' +
      'Exits with 0 once every node that can be reached has the version, with 1 when one reports an error or ' +
      'is not ready in time.',
    examples: [
      'edge deploy hello.wasm --name hello --route /hello',
      "edge deploy api.wasm --route '/api/*' --host api.example.com --selector \"region == 'tokyo'\"",
      'edge deploy hello.wasm --pop nrt --plan',
    ],
    group: 'Functions',
  },
  functions: {
    words: [],
    summary: 'List the functions.',
    details: 'Shows name, latest published version, project and id of each.',
    examples: ['edge functions', 'edge functions --json'],
    group: 'Functions',
  },
  versions: {
    words: ['<name>'],
    summary: 'List the versions of a function, highest first.',
    details: 'A pending version waits for its module: run `edge deploy` again to upload it.',
    examples: ['edge versions hello'],
    group: 'Functions',
  },
  inspect: {
    words: ['<name>', '[version]'],
    summary: 'Show the settings, size, imports and exports of a version.',
    details: 'Without a version, shows the latest one.',
    examples: ['edge inspect hello', 'edge inspect hello 1.0.1 --json'],
    group: 'Functions',
  },
  routes: {
    words: ['[name]'],
    summary: 'List the routes of one function or of all.',
    details: 'Shows methods, host, path, function and priority of each; a higher priority wins.',
    examples: ['edge routes', 'edge routes hello'],
    group: 'Functions',
  },
  status: {
    words: ['<name>'],
    summary: 'Show which version runs where, and its state on every node.',
    details:
      'The state is pending (the node has not reported yet), loading, cached (ready to answer), error (with ' +
      'the reason; it is tried again) or failed (it fails in the same way each time and is not tried again).',
    examples: ['edge status hello'],
    group: 'Functions',
  },
  deployments: {
    usage: 'deployments [options] [name | show <id> | end <id>]',
    words: ['[name]', '[id]'],
    summary: 'List the deployments, show one, or end one.',
    details:
      'On each node the newest deployment whose target matches decides which version runs. Without words: the ' +
      'active deployments of all functions; with a name: those of one function, and its last ones that are ' +
      'over. Ending one gives its nodes back to the next that matches them; where none does they lose the ' +
      'function. A deployment is done, waiting or failed.',
    examples: [
      'edge deployments',
      'edge deployments hello',
      'edge deployments end dep_01m7ze58ebnr1zg0bxhhxrd3e1',
    ],
    group: 'Functions',
  },
  rollback: {
    words: ['<name>', '[version]'],
    summary: 'Leave the version that was deployed last, for the one before it or the one that is given.',
    details:
      'Each target that runs the version to leave goes back to what ran there before; other targets stay as ' +
      'they are. With --pop or --selector only those nodes go back, from what they run. Running it again changes ' +
      'nothing: name a version, or --from, to go further back. Waits until every node is ready.',
    examples: [
      'edge rollback hello',
      'edge rollback hello 1.0.0 --pop nrt',
      'edge rollback hello --from 1.0.1',
    ],
    group: 'Functions',
  },
  undeploy: {
    words: ['<name>'],
    summary: 'Remove a function from every node; its versions are kept.',
    details: 'Its routes answer 404 until `edge deploy` deploys it again.',
    examples: ['edge undeploy hello'],
    group: 'Functions',
  },
  delete: {
    words: ['<name>'],
    summary: 'Delete a function with its versions and routes.',
    details: 'Refused while the function is deployed: undeploy it first.',
    examples: ['edge undeploy hello && edge delete hello'],
    group: 'Functions',
  },
  nodes: {
    words: [],
    summary: 'List the nodes.',
    details:
      'Shows id, pop, status, labels, wall around guests, version of edge and last heartbeat of each. A node ' +
      'that is `diverged` refuses what it is sent and keeps what it has; the reason and what ends it stand below.',
    examples: ['edge nodes'],
    group: 'Nodes',
  },
  node: {
    usage: 'node [options] label <id> <name=value | name->... | rebase <id>',
    words: ['<action>', '<id>', '[labels...]'],
    summary: 'Set or remove labels of a node, or end that it has diverged.',
    details:
      'Selectors test the labels that the join token or `label` gives, never what a node says of itself. ' +
      'Labels that are not named stay; NAME- removes one. A change counts at once for every deployment. ' +
      'A node that is ahead of a control plane that was restored from a backup keeps what it has, and `edge ' +
      'nodes` shows it as diverged: with `rebase` it takes the state of this control plane and serves on.',
    examples: [
      'edge node label nrt-1 region=tokyo disk_gb=80',
      'edge node label nrt-1 spare-',
      'edge node rebase nrt-1',
    ],
    group: 'Nodes',
  },
  'join-token': {
    words: [],
    summary: 'Create a token with which one edge joins the control plane.',
    details:
      'It is shown once. It expires after one hour, or when an edge has joined with it. The node gets the ' +
      'labels of the token, which selectors test.',
    examples: [
      'edge join-token --pop nrt --label region=tokyo --label disk_gb=80',
      'EDGE_JOIN_TOKEN=$(edge join-token) edge --mode=edge --cp-url http://cp.internal:8080',
    ],
    group: 'Nodes',
  },
  doctor: {
    words: [],
    summary: 'Check the wall around guests on this machine, and the artifacts of a control plane.',
    details:
      'Tries each part of the wall around guests once, as the user that runs the command. Where --data-dir is ' +
      'that of a control plane, running or not, also reads all artifacts and says which are damaged, missing ' +
      'or orphaned. Exits with 1 when a part is missing without which no guest runs, or an artifact is broken.',
    examples: ['edge doctor', 'edge doctor --data-dir /var/lib/edge', 'edge doctor --json'],
    group: 'Nodes',
  },
  version: {
    words: [],
    summary: 'Print the version of this program.',
    details: 'With --json, also that of the Bun runtime inside it.',
    examples: ['edge version'],
    group: 'About',
  },
  config: {
    words: ['[format]'],
    summary: 'Print every setting: flag, variable, default, allowed values and meaning.',
    details: 'A flag beats its variable, a variable beats the default. The format is text or markdown.',
    examples: ['edge config', 'edge config --json', 'edge config markdown'],
    group: 'About',
  },
};

export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];
