// Reads the memory and the open files of a process from /proc.
import { readFileSync, readdirSync } from 'node:fs';

function field(path: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(path, 'utf8'))?.[1];
  if (found === undefined) throw new Error(`${path} has no ${name}`);
  return Number(found);
}

/** Resident set size in MB of 1024 * 1024 bytes. */
export const rssMb = (pid: number): number => field(`/proc/${pid}/status`, 'VmRSS') / 1024;

/** Proportional set size in MB of 1024 * 1024 bytes. */
export const pssMb = (pid: number): number => field(`/proc/${pid}/smaps_rollup`, 'Pss') / 1024;

export const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
