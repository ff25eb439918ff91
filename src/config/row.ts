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
  'join-token',
  'status',
  'rollback',
  'undeploy',
  'delete',
] as const;

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
