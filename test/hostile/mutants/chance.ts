// Numbers that look random and are the same for the same seed and index.

export type Chance = {
  /** An integer from 0 to `count` - 1. */
  below(count: number): number;
  /** True once in `times`. */
  once(times: number): boolean;
  /** One of the list, which is not empty. */
  pick<T>(list: readonly T[]): T;
};

/** The generator sfc32 of PractRand, started with the seed and the index and warmed up. */
export function createChance(seed: number, index: number): Chance {
  let [a, b, c, counter] = [seed | 0, index | 0, 0x9e3779b9 | 0, 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let rounds = 0; rounds < 12; rounds += 1) next();
  const below = (count: number): number => next() % Math.max(1, count);
  return {
    below,
    once: (times) => below(times) === 0,
    pick<T>(list: readonly T[]): T {
      if (list.length === 0) throw new Error('there is nothing to pick from');
      return list[below(list.length)] as T;
    },
  };
}
