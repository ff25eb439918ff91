// Mutants of the fixtures' modules: the same seed and index always make the same bytes.
import { readGuest, readGuestCases } from '../../fixtures/manifest.ts';
import { BYTE_MUTATIONS, type Mutation } from './byte_mutations.ts';
import { type Chance, createChance } from './chance.ts';
import { CODE_MUTATIONS } from './code_mutations.ts';
import { SECTION_MUTATIONS } from './section_mutations.ts';

const STEPS_MAX = 4;
/** Modules above this come once in `LARGE_TIMES`: an upload checks each of them in a process of its own. */
const LARGE_BYTES = 32 * 1024;
const LARGE_TIMES = 400;

/** `file` is what it was made from, `steps` are the names of the mutations. */
export type Mutant = { seed: number; index: number; file: string; steps: string[]; bytes: Uint8Array };
export type Mutants = (index: number) => Mutant;

type Module = { file: string; bytes: Uint8Array };

/** Mutants of all modules of the manifest, most of them of those that an upload accepts. */
export async function openMutants(seed: number): Promise<Mutants> {
  const cases = await readGuestCases();
  const read = async (accepted: boolean, large: boolean): Promise<Module[]> => {
    const files = cases.filter(({ upload }) => (upload === 'accepted') === accepted).map(({ file }) => file);
    const modules = await Promise.all(
      [...new Set(files)].toSorted().map(async (file) => ({ file, bytes: await readGuest(file) })),
    );
    return modules.filter(({ bytes }) => bytes.length > LARGE_BYTES === large && bytes.length > 8);
  };
  const [good, bad] = [await read(true, false), await read(false, false)];
  const large = [...(await read(true, true)), ...(await read(false, true))];
  return (index) => {
    const chance = createChance(seed, index);
    const few = chance.once(5) ? bad : good;
    const { file, bytes } = chance.pick(chance.once(LARGE_TIMES) ? large : few);
    return { seed, index, file, ...mutate(bytes, chance, chance.pick(good).bytes) };
  };
}

function mutate(
  original: Uint8Array,
  chance: Chance,
  other: Uint8Array,
): { steps: string[]; bytes: Uint8Array } {
  let bytes = original;
  const steps: string[] = [];
  const family = chance.pick([BYTE_MUTATIONS, SECTION_MUTATIONS, CODE_MUTATIONS, CODE_MUTATIONS]);
  for (let left = 1 + chance.below(STEPS_MAX); left > 0; left -= 1) {
    const [name, mutation] = chance.pick(Object.entries(family));
    bytes = stepped(bytes, mutation, { chance, other });
    steps.push(name);
  }
  return { steps, bytes };
}

/** A module that earlier steps broke has no sections: then a bit flips. */
function stepped(
  bytes: Uint8Array,
  mutation: Mutation,
  { chance, other }: { chance: Chance; other: Uint8Array },
): Uint8Array {
  if (bytes.length === 0) return other;
  try {
    return mutation(bytes, chance, other);
  } catch (failure) {
    const flip = BYTE_MUTATIONS['flipBit'];
    if (flip === undefined) throw failure;
    return flip(bytes, chance, other);
  }
}

/** What a failing test prints. */
export const nameOf = ({ seed, index, file, steps }: Mutant): string =>
  `mutant ${seed}:${index} of ${file} (${steps.join(', ')}); replay: bun test/hostile/replay.ts ${seed}:${index}`;
