// Settings of the commands that talk to a control plane, and of the module that is deployed or run.
import { FUNCTION_BOUNDS, FUNCTION_DEFAULTS } from '../base/limits/function.ts';
import {
  Entrypoint,
  ENV_NAME_PATTERN,
  LABEL_NAME_PATTERN,
  Name,
  NodeId,
  PopId,
  Semver,
} from '../model/names.ts';
import { RouteHost, RoutePath } from '../model/route.ts';
import { choice, integer, labels, list, onOff, pairs, text, url } from './kinds.ts';
import { CLIENT, ID_BOUNDS, type SettingRow } from './row.ts';

const NAME_BOUNDS = '1 to 63 lower-case letters, digits and dashes';
const EXPORT_BOUNDS =
  '1 to 128 letters, digits, dots, dashes and underscores, starting with a letter or underscore';

export const CLIENT_SETTINGS = {
  url: {
    flag: '--url',
    variable: 'EDGE_URL',
    kind: url('URL'),
    initial: null,
    meaning: 'URL of the control plane. When not set: that of the profile.',
    commands: CLIENT,
  },
  token: {
    flag: '--token',
    variable: 'EDGE_TOKEN',
    kind: text('TOKEN'),
    initial: null,
    meaning:
      'Token for the API. Prefer the variable: other users of this machine can read flags. When not set: ' +
      'that of the profile.',
    commands: CLIENT,
    secret: true,
  },
  project: {
    flag: '--project',
    variable: 'EDGE_PROJECT',
    kind: text('NAME', { pattern: Name.pattern ?? '', bounds: NAME_BOUNDS }),
    initial: null,
    meaning:
      'Project of the function. When not set: `default` for a new function; an existing one is found in ' +
      'any project.',
    commands: [
      'deploy',
      'functions',
      'versions',
      'inspect',
      'routes',
      'status',
      'deployments',
      'rollback',
      'undeploy',
      'delete',
    ],
  },
  json: {
    flag: '--json',
    variable: null,
    kind: onOff(),
    initial: 'false',
    meaning: 'Print one JSON value on stdout; everything else goes to stderr.',
    commands: [...CLIENT, 'doctor', 'version', 'config'],
  },
  waitSecs: {
    flag: '--wait-secs',
    variable: 'EDGE_WAIT_SECS',
    kind: integer('SECONDS', { min: 0, max: 3_600, unit: 'seconds' }),
    initial: '60',
    meaning: 'Maximum time to wait until every matching node is ready; 0 does not wait.',
    commands: ['deploy', 'rollback'],
  },
  name: {
    flag: '--name',
    variable: null,
    kind: text('NAME', { pattern: Name.pattern ?? '', bounds: NAME_BOUNDS }),
    initial: null,
    meaning: 'Name of the function. When not set: made from the name of the file.',
    commands: ['deploy'],
  },
  route: {
    flag: '--route',
    variable: null,
    kind: text('PATH', {
      pattern: RoutePath.pattern ?? '',
      bounds: 'a path such as /hello, /users/:id or /files/*',
    }),
    initial: null,
    meaning: 'Path that leads to the function. When not set: the routes stay as they are.',
    commands: ['deploy'],
  },
  host: {
    flag: '--host',
    variable: null,
    kind: text('HOST', {
      pattern: RouteHost.pattern ?? '',
      bounds: 'a lower-case host such as api.example.com, *.example.com, or * for any',
    }),
    initial: null,
    meaning:
      'Host of --route; it belongs to the project of its first route. When not set: any host, which the project default has.',
    commands: ['deploy'],
  },
  method: {
    flag: '--method',
    variable: null,
    kind: list('METHOD', {
      pattern: '^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$',
      bounds: 'GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS',
      max: 7,
    }),
    initial: '',
    meaning: 'HTTP method of --route; may be repeated. When not set: every method, or those that it has.',
    commands: ['deploy'],
  },
  entrypoint: {
    flag: '--entrypoint',
    variable: null,
    kind: text('EXPORT', { pattern: Entrypoint.pattern ?? '', bounds: EXPORT_BOUNDS }),
    initial: null,
    meaning:
      'Export of the module that answers requests. When not set: that of the latest version, or handle.',
    commands: ['deploy', 'run'],
  },
  memoryPages: {
    flag: '--memory-pages',
    variable: null,
    kind: integer('PAGES', { min: 1, max: FUNCTION_BOUNDS.memoryPagesMax, unit: 'pages of 64 KiB' }),
    initial: null,
    meaning:
      'Maximum linear memory of an instance. When not set: that of the latest version, or ' +
      `${FUNCTION_DEFAULTS.memoryPages}.`,
    commands: ['deploy', 'run'],
  },
  maxExecutionMs: {
    flag: '--max-execution-ms',
    variable: null,
    kind: integer('MS', { min: 1, max: FUNCTION_BOUNDS.executionMsMax, unit: 'milliseconds' }),
    initial: null,
    meaning:
      'Maximum time for one request; one that takes longer gets 504. When not set: that of the latest ' +
      `version, or ${FUNCTION_DEFAULTS.executionMs}.`,
    commands: ['deploy', 'run'],
  },
  isolation: {
    flag: '--isolation',
    variable: null,
    kind: choice('MODE', ['clean', 'reuse']),
    initial: null,
    meaning:
      'clean gives every request a new instance; with reuse an instance keeps its state for later ' +
      'requests. When not set: that of the latest version, or clean.',
    commands: ['deploy', 'run'],
  },
  env: {
    flag: '--env',
    variable: null,
    kind: pairs('NAME=VALUE', {
      name: ENV_NAME_PATTERN,
      max: FUNCTION_BOUNDS.envEntriesMax,
      separator: null,
    }),
    initial: null,
    meaning:
      'Value that the function reads with env_get; may be repeated. When not set: those of the latest ' +
      'version, or none.',
    commands: ['deploy', 'run'],
  },
  version: {
    flag: '--version',
    variable: null,
    kind: text('SEMVER', { pattern: Semver.pattern ?? '', bounds: 'a semantic version such as 1.2.3' }),
    initial: null,
    meaning: 'Number of the new version. When not set: the latest with its patch number raised by one.',
    commands: ['deploy'],
  },
  selector: {
    flag: '--selector',
    variable: null,
    kind: text('EXPRESSION'),
    initial: null,
    meaning:
      "Nodes to deploy to, by their labels, such as region == 'tokyo' and not spare. Without --selector, --pop " +
      'and --everywhere: the targets that the function has; a new function goes to every node. For rollback: ' +
      'go back on these nodes alone.',
    commands: ['deploy', 'rollback'],
  },
  pop: {
    flag: '--pop',
    variable: null,
    kind: list('POP', {
      pattern: PopId.pattern ?? '',
      bounds: 'ids of pops',
      max: FUNCTION_BOUNDS.targetPopsMax,
    }),
    initial: '',
    meaning:
      'Pop to deploy to, or to go back on; may be repeated, and other pops keep what they run. For join-token: ' +
      'admit only a node of this pop; when not set, the node names its own.',
    commands: ['deploy', 'rollback', 'join-token'],
  },
  everywhere: {
    flag: '--everywhere',
    variable: null,
    kind: onOff(),
    initial: 'false',
    meaning: 'Deploy to every node, which ends all other deployments of the function.',
    commands: ['deploy'],
  },
  allowEmpty: {
    flag: '--allow-empty',
    variable: null,
    kind: onOff(),
    initial: 'false',
    meaning: 'Deploy also where no node matches: one that joins later gets the version.',
    commands: ['deploy'],
  },
  plan: {
    flag: '--plan',
    variable: null,
    kind: onOff(),
    initial: 'false',
    meaning: 'Show which nodes would get, lose and keep which version; change nothing.',
    commands: ['deploy'],
  },
  from: {
    flag: '--from',
    variable: null,
    kind: text('SEMVER', { pattern: Semver.pattern ?? '', bounds: 'a semantic version such as 1.2.3' }),
    initial: null,
    meaning: 'Version to leave. When not set: that of the newest deployment.',
    commands: ['rollback'],
  },
  label: {
    flag: '--label',
    variable: null,
    kind: labels('NAME=VALUE', { name: LABEL_NAME_PATTERN, max: FUNCTION_BOUNDS.labelsMax }),
    initial: '',
    meaning: 'Label of the node that joins with the token, which selectors test; may be repeated.',
    commands: ['join-token'],
  },
  tokenNode: {
    flag: '--node',
    variable: null,
    kind: text('ID', { pattern: NodeId.pattern ?? '', bounds: ID_BOUNDS }),
    initial: null,
    meaning:
      'Admit only the node of this id, also while it is not offline; it keeps its labels. When not set: any new node.',
    commands: ['join-token'],
  },
} as const satisfies Record<string, SettingRow>;
