// Settings of the commands that start something: up, --mode=cp, --mode=edge and run.
import { FUNCTION_BOUNDS } from '../base/limits/function.ts';
import { POOL_BOUNDS, POOL_DEFAULTS } from '../base/limits/pool.ts';
import { REQUEST_BOUNDS, REQUEST_DEFAULTS } from '../base/limits/request.ts';
import { SYNC_DEFAULTS } from '../base/limits/sync.ts';
import { LABEL_NAME_PATTERN, NodeId, PopId } from '../model/names.ts';
import { address, choice, decimal, integer, labels, onOff, text, url } from './kinds.ts';
import { CLIENT, ID_BOUNDS, type SettingRow } from './row.ts';

export const SERVER_SETTINGS = {
  dataDir: {
    flag: '--data-dir',
    variable: 'EDGE_DATA_DIR',
    kind: text('DIR'),
    initial: './.edge',
    meaning: 'Directory for the database, artifacts, keys, and the profile that the client commands read.',
    commands: ['up', 'cp', 'edge', 'run', 'doctor', ...CLIENT],
  },
  listen: {
    flag: '--listen',
    variable: 'LISTEN_PORT',
    kind: address('ADDRESS'),
    initial: '127.0.0.1:3000',
    meaning:
      'Address where functions answer requests. A port alone listens on 127.0.0.1, `:PORT` on every IPv4 ' +
      'interface.',
    commands: ['up', 'edge', 'run'],
  },
  cpListen: {
    flag: '--cp-listen',
    variable: 'EDGE_CP_LISTEN',
    kind: address('ADDRESS'),
    initial: '127.0.0.1:8080',
    meaning: 'Address of the API of the control plane.',
    commands: ['up', 'cp'],
  },
  metricsListen: {
    flag: '--metrics-listen',
    variable: 'EDGE_METRICS_LISTEN',
    kind: address('ADDRESS'),
    initial: '127.0.0.1:9090',
    meaning: 'Address of /metrics, /livez and /readyz.',
    commands: ['up', 'cp', 'edge'],
  },
  cpPublicUrl: {
    flag: '--cp-public-url',
    variable: 'EDGE_CP_PUBLIC_URL',
    kind: url('URL'),
    initial: null,
    meaning:
      'URL under which clients and edges reach the control plane. When not set: the one that the caller ' +
      'used.',
    commands: ['up', 'cp'],
  },
  newSigningKey: {
    flag: '--new-signing-key',
    variable: null,
    kind: onOff(),
    initial: 'false',
    meaning:
      'Make a new signing key where nodes have joined and the file signing-key.pem is lost: every node must ' +
      'then join again. Restore the file from a backup instead where there is one.',
    commands: ['up', 'cp'],
  },
  edgeUrl: {
    flag: '--edge-url',
    variable: 'EDGE_PUBLIC_URL',
    kind: url('URL'),
    initial: null,
    meaning: 'URL under which the functions are reached; used only for the URLs that commands print.',
    commands: ['up', 'cp', 'deploy'],
  },
  demo: {
    flag: '--demo',
    variable: null,
    kind: onOff(),
    initial: 'false',
    meaning: 'Deploy the function hello at /hello, unless there is one, and print the command that calls it.',
    commands: ['up'],
  },
  cpUrl: {
    flag: '--cp-url',
    variable: 'CP_URL',
    kind: url('URL'),
    initial: null,
    meaning: 'URL of the control plane that this edge belongs to. Required.',
    commands: ['edge'],
  },
  joinToken: {
    flag: '--join-token',
    variable: 'EDGE_JOIN_TOKEN',
    kind: text('TOKEN'),
    initial: null,
    meaning:
      'One-time token from `edge join-token`. Required until the node has joined; later a new one lets it join ' +
      'again where its control plane refuses it or has another signing key.',
    commands: ['edge'],
    secret: true,
  },
  nodeId: {
    flag: '--node-id',
    variable: 'NODE_ID',
    kind: text('ID', { pattern: NodeId.pattern ?? '', bounds: ID_BOUNDS }),
    initial: null,
    meaning: 'Id of this node. When not set: `local` for up, the host name for --mode=edge.',
    commands: ['up', 'edge'],
  },
  popId: {
    flag: '--pop-id',
    variable: 'POP_ID',
    kind: text('ID', { pattern: PopId.pattern ?? '', bounds: ID_BOUNDS }),
    initial: 'local',
    meaning: 'Id of the pop (point of presence) where this node stands.',
    commands: ['up', 'edge'],
  },
  labels: {
    flag: '--labels',
    variable: 'EDGE_LABELS',
    kind: labels('NAME=VALUE,…', { name: LABEL_NAME_PATTERN, max: FUNCTION_BOUNDS.labelsMax }),
    initial: '',
    meaning:
      'Labels of this node, such as region=tokyo,latency_ms=12. Selectors test those of `edge up`; those of ' +
      '--mode=edge are only shown: give them with `edge join-token --label` or `edge node label`.',
    commands: ['up', 'edge'],
  },
  cacheDir: {
    flag: '--cache-dir',
    variable: 'EDGE_CACHE_DIR',
    kind: text('DIR'),
    initial: null,
    meaning:
      'Directory for cached artifacts and compiled code. When not set: <data-dir>/cache for up, ' +
      "<data-dir>/run/cache for run, and /var/cache/wasm or the user's cache directory for --mode=edge.",
    commands: ['up', 'edge', 'run'],
  },
  cacheSizeGb: {
    flag: '--cache-size-gb',
    variable: 'CACHE_SIZE_GB',
    kind: decimal('GIB', { min: 0.01, max: 100_000, unit: 'GiB' }),
    initial: '10',
    meaning: 'Maximum size of the cached artifacts; the least recently used are evicted first.',
    commands: ['up', 'edge'],
  },
  maxHotInstances: {
    flag: '--max-hot-instances',
    variable: 'MAX_HOT_INSTANCES',
    kind: integer('N', { min: 1, max: POOL_DEFAULTS.nodeWorkersMax, unit: 'workers' }),
    initial: String(POOL_DEFAULTS.workersMax),
    meaning: 'Maximum workers per version; each is a process that holds one instance.',
    commands: ['up', 'edge', 'run'],
  },
  nodeOfflineSecs: {
    flag: '--node-offline-secs',
    variable: 'EDGE_NODE_OFFLINE_SECS',
    kind: integer('SECONDS', { min: 2, max: 86_400, unit: 'seconds' }),
    initial: String(SYNC_DEFAULTS.nodeOfflineMs / 1_000),
    meaning:
      'A node that sends no heartbeat for this long is offline. Choose at least four times the interval of ' +
      'the heartbeats.',
    commands: ['up', 'cp'],
  },
  heartbeatIntervalSecs: {
    flag: '--heartbeat-interval-secs',
    variable: 'HEARTBEAT_INTERVAL_SECS',
    kind: integer('SECONDS', { min: 1, max: 3_600, unit: 'seconds' }),
    initial: String(SYNC_DEFAULTS.heartbeatIntervalMs / 1_000),
    meaning: 'Maximum time between two heartbeats of this node.',
    commands: ['up', 'edge'],
  },
  concurrentPerProject: {
    flag: '--concurrent-per-project',
    variable: 'EDGE_CONCURRENT_PER_PROJECT',
    kind: integer('N', { min: 1, max: 100_000, unit: 'requests' }),
    initial: String(REQUEST_DEFAULTS.concurrentPerProject),
    meaning: 'Maximum requests of one project that run at once on this node; further ones get 429.',
    commands: ['up', 'edge'],
  },
  invocationsPerMinute: {
    flag: '--invocations-per-minute',
    variable: 'EDGE_INVOCATIONS_PER_MINUTE',
    kind: integer('N', { min: 1, max: 1_000_000_000, unit: 'requests' }),
    initial: String(REQUEST_DEFAULTS.invocationsPerMinute),
    meaning: 'Maximum requests of one project in any 60 seconds on this node; further ones get 429.',
    commands: ['up', 'edge'],
  },
  poolWorkersMin: {
    flag: '--pool-workers-min',
    variable: 'EDGE_POOL_WORKERS_MIN',
    kind: integer('N', { min: 0, max: POOL_DEFAULTS.nodeWorkersMax, unit: 'workers' }),
    initial: String(POOL_DEFAULTS.workersMin),
    meaning:
      'Minimum workers per version, started before its first request. With 0, a request after a pause ' +
      'waits for one to start.',
    commands: ['up', 'edge', 'run'],
  },
  queueLengthMax: {
    flag: '--queue-length-max',
    variable: 'EDGE_QUEUE_LENGTH_MAX',
    kind: integer('N', { min: 0, max: 100_000, unit: 'requests' }),
    initial: String(POOL_DEFAULTS.queueLengthMax),
    meaning: 'Maximum requests per version that wait for a worker; further ones get 503.',
    commands: ['up', 'edge', 'run'],
  },
  workerIdleMs: {
    flag: '--worker-idle-ms',
    variable: 'EDGE_WORKER_IDLE_MS',
    kind: integer('MS', { min: 1, max: 86_400_000, unit: 'milliseconds' }),
    initial: String(POOL_DEFAULTS.workerIdleMs),
    meaning: 'Workers above the minimum exit after this long without a request.',
    commands: ['up', 'edge', 'run'],
  },
  nodeWorkersMax: {
    flag: '--node-workers-max',
    variable: 'EDGE_NODE_WORKERS_MAX',
    kind: integer('N', { min: 1, max: POOL_BOUNDS.nodeWorkersMax, unit: 'workers' }),
    initial: String(POOL_DEFAULTS.nodeWorkersMax),
    meaning: 'Maximum workers on this node, all versions together.',
    commands: ['up', 'edge', 'run'],
  },
  requestBytesMax: {
    flag: '--request-bytes-max',
    variable: 'EDGE_REQUEST_BYTES_MAX',
    kind: integer('BYTES', { min: 1, max: REQUEST_BOUNDS.drainBytesMax, unit: 'bytes' }),
    initial: String(REQUEST_DEFAULTS.requestBytesMax),
    meaning: 'Maximum size of a request body; a larger one gets 413.',
    commands: ['up', 'edge', 'run'],
  },
  responseBytesMax: {
    flag: '--response-bytes-max',
    variable: 'EDGE_RESPONSE_BYTES_MAX',
    kind: integer('BYTES', { min: 1, max: REQUEST_BOUNDS.drainBytesMax, unit: 'bytes' }),
    initial: String(REQUEST_DEFAULTS.responseBytesMax),
    meaning: 'Maximum size of a response body; the client gets 500 instead of a larger one.',
    commands: ['up', 'edge', 'run'],
  },
  allowWeakWalls: {
    flag: '--allow-weak-walls',
    variable: 'EDGE_ALLOW_WEAK_WALLS',
    kind: onOff(),
    initial: 'false',
    meaning:
      'Run guests also where this machine lacks a necessary part of the wall around them, and compile modules ' +
      'also where their filter alone keeps them from files. `edge doctor` shows what is missing.',
    commands: ['up', 'edge', 'run'],
  },
  drainSecs: {
    flag: '--drain-secs',
    variable: 'EDGE_DRAIN_SECS',
    kind: integer('SECONDS', { min: 0, max: 3_600, unit: 'seconds' }),
    initial: String(REQUEST_DEFAULTS.drainMs / 1_000),
    meaning: 'Time that running requests have to finish after SIGTERM or Ctrl-C.',
    commands: ['up', 'edge', 'run'],
  },
  accessLog: {
    flag: '--access-log',
    variable: 'EDGE_ACCESS_LOG',
    kind: choice('WHICH', ['errors', 'all']),
    initial: 'errors',
    meaning: 'Which requests get a log line: those that failed, or all.',
    commands: ['up', 'edge', 'run'],
  },
  logLevel: {
    flag: '--log-level',
    variable: 'EDGE_LOG_LEVEL',
    kind: choice('LEVEL', ['debug', 'info', 'warn', 'error']),
    initial: null,
    meaning:
      'Minimum log level; log lines are JSON on stdout. When not set: warn for up and run on a terminal, ' +
      'info otherwise.',
    commands: ['up', 'cp', 'edge', 'run'],
  },
} as const satisfies Record<string, SettingRow>;
