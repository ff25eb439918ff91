// One row of the table of settings, and the names of the commands.
import type { Kind } from './kinds.ts';

/** Commands that start something. */
export type ServerCommand = 'up' | 'cp' | 'edge' | 'run';
/** Commands that talk to a control plane. */
export type ClientCommand = (typeof CLIENT)[number];
export type CommandName = ServerCommand | ClientCommand | 'doctor' | 'version' | 'config';

export const CLIENT = [
  'deploy',
  'functions',
  'versions',
  'inspect',
  'routes',
  'nodes',
  'node',
  'join-token',
  'status',
  'deployments',
  'rollback',
  'undeploy',
  'delete',
] as const;

/** What `NodeId` and `PopId` allow, in words. */
export const ID_BOUNDS =
  '1 to 63 letters, digits, dots, dashes and underscores, starting with a letter or digit';

export type SettingRow = {
  readonly flag: string;
  readonly variable: string | null;
  readonly kind: Kind<unknown>;
  /** The default as a person would write it; null where there is none. */
  readonly initial: string | null;
  readonly meaning: string;
  readonly commands: readonly CommandName[];
  /** Error messages never show the value. */
  readonly secret?: true;
};
