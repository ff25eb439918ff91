// What the processor of this machine offers to compiled code: part of the name of every compiled file.
import { readFile } from 'node:fs/promises';

/** Model and features of the first processor in the text of `/proc/cpuinfo`; pure. */
export function cpuFeaturesOf(cpuinfo: string): string {
  const first = cpuinfo.split('\n\n')[0] ?? '';
  const wanted = /^(vendor_id|cpu family|model|model name|stepping|flags|Features|CPU \w+)\s*:\s*(.*)$/gm;
  return [...first.matchAll(wanted)].map(([, name, value]) => `${name}=${value}`).join('\n');
}

export async function readCpuFeatures(): Promise<string> {
  return cpuFeaturesOf(await readFile('/proc/cpuinfo', 'latin1'));
}
