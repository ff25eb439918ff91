// What the control plane asks of a store of artifacts, wherever the bytes are.

/**
 * Bytes that have been received whole but are not kept yet. `discard` must be called at the end, also after
 * `keep`, which makes them findable by their digest; doing so for bytes that are there already changes
 * nothing.
 */
export type ReceivedArtifact = {
  readonly sha256: string;
  readonly sizeBytes: number;
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  keep(): Promise<void>;
  discard(): Promise<void>;
};

export type ArtifactStore = {
  /**
   * Reads a stream to its end. Refuses `artifact_too_large` as soon as it passes `bytesMax`, and
   * `artifact_empty`; nothing is left behind then, nor when the stream fails.
   */
  receive(body: ReadableStream<Uint8Array> | null, options: { bytesMax: number }): Promise<ReceivedArtifact>;
  /** Null where there is no such artifact. */
  open(sha256: string): Promise<Blob | null>;
  /** Removing what is not there is no error. */
  remove(sha256: string): Promise<void>;
};
