// What a row of the table of settings says, and the commands that it may name.
import type { Kind } from './kinds.ts';

/** Commands that start something, and commands that talk to a control plane. */
export type ServerCommand = 'up' | 'cp' | 'edge' | 'run';
export type ClientCommand = (typeof CLIENT)[number];
export type CommandName = ServerCommand | ClientCommand | 'version' | 'config';

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

/** `initial` is the default as one would write it; null: not set. A secret is never printed. */
export type SettingRow = {
  readonly flag: string;
  readonly variable: string | null;
  readonly kind: Kind<unknown>;
  readonly initial: string | null;
  readonly meaning: string;
  readonly commands: readonly CommandName[];
  readonly secret?: true;
};
