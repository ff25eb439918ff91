// How much the attack suite does: the short form within `npm test`, or that of `npm run test:hostile`.

const SHORT = {
  /** Mutants through the check of an upload, in one process. */
  mutantsChecked: 4_000,
  /** Mutants through the upload of the built executable. */
  mutantsUploaded: 100,
  /** Accepted mutants that an edge deploys and calls. */
  mutantsDeployed: 24,
  /** Every how many of the exhausting guests runs; the tests of the manifest run all of them compiled. */
  caseStep: 4,
  /** Loops at once, and how often. */
  loops: 32,
  rounds: 1,
  /** Whether the workers of the matrix attack, in all its cells: else one cell, with the executable as it is. */
  hasAttacks: false,
};

const LONG: typeof SHORT = {
  mutantsChecked: 100_000,
  mutantsUploaded: 5_000,
  mutantsDeployed: 3_000,
  caseStep: 1,
  loops: 128,
  hasAttacks: true,
  rounds: 3,
};

export const scale = process.env['EDGE_HOSTILE'] === 'long' ? LONG : SHORT;
