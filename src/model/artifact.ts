// The state of stored artifacts, and what `edge doctor` finds out about those of a control plane.

/** What an artifact's file is: `damaged` where it has other bytes or cannot be read. */
export type ArtifactState = 'whole' | 'damaged' | 'missing';

/** An artifact that is not there as it should be, and the versions that need it. */
export type BrokenArtifact = {
  sha256: string;
  state: 'damaged' | 'missing';
  /** It was set aside as orphaned and comes back by itself. */
  is_aside: boolean;
  versions: { project_id: string; name: string; function_id: string; version: string }[];
};

export type ArtifactsReport = {
  checked: number;
  broken: BrokenArtifact[];
  /** Digests of files that no version names. */
  orphaned: string[];
  /** Files that wait to be deleted, or for an operator. */
  set_aside: { orphaned: number; damaged: number };
};
