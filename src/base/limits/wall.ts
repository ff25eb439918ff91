// Bounds on the report of the wall around guests.

/** Hard bounds: what a node reports of its wall is stored and shown, and a node may lie. */
export const WALL_BOUNDS = {
  /** More than there are, so that a newer node may know further parts. */
  partsMax: 32,
  reasonLengthMax: 200,
} as const;
