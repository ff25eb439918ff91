// The body of an upload, raw or a form, bounded in bytes and in time.
import type { Clock } from '../../base/clock.ts';
import { within } from '../../base/deadline.ts';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_BOUNDS } from '../../base/limits/control.ts';
import { FUNCTION_BOUNDS } from '../../base/limits/function.ts';
import { Semver } from '../../model/names.ts';
import { badFields } from '../http/failures.ts';

type Body = ReadableStream<Uint8Array> | null;

/** `version` is undefined unless a form names one. */
export type UploadBody = { body: Body; version: string | undefined };

const BYTES_MAX = FUNCTION_BOUNDS.artifactBytesMax;

/** Room for the boundaries and headers of a form. */
const FORM_OVERHEAD_BYTES = 64 * 1024;

/** Whether `readUpload` holds the body in memory. */
export function isForm(request: Request): boolean {
  return typeOf(request).startsWith('multipart/form-data');
}

/**
 * The raw body, which has to come in time (`timed`); its reader bounds the bytes. Refuses
 * `artifact_too_large` before anything is read where the announced length is too large.
 */
export function rawArtifact(request: Request, clock: Clock): Body {
  if (announcedBytes(request) > BYTES_MAX) throw artifactTooLarge();
  return timed(request.body, clock);
}

/**
 * The raw body, or the fields `file` and `version` of a form, which is read whole. Refuses
 * `artifact_too_large`, `request_timeout`, `bad_request` and `validation_failed`.
 */
export async function readUpload(request: Request, clock: Clock): Promise<UploadBody> {
  if (!isForm(request)) return { body: rawArtifact(request, clock), version: undefined };
  const form = await readForm(request, clock);
  const file = form.get('file');
  if (!(file instanceof Blob)) throw badFields({ field: 'file', message: 'must be a file' });
  const version = form.get('version');
  if (version !== null && !isSemver(version))
    throw badFields({ field: 'version', message: 'must be a semantic version' });
  return { body: file.stream(), version: version ?? undefined };
}

function isSemver(value: string | Blob): value is string {
  return typeof value === 'string' && new RegExp(Semver.pattern ?? '').test(value);
}

function typeOf(request: Request): string {
  return request.headers.get('content-type') ?? '';
}

function announcedBytes(request: Request): number {
  return Number(request.headers.get('content-length') ?? 0);
}

function artifactTooLarge(): CodedError {
  return new CodedError('artifact_too_large', { details: { bytes_max: BYTES_MAX } });
}

type Form = Awaited<ReturnType<Response['formData']>>;

async function readForm(request: Request, clock: Clock): Promise<Form> {
  const bytesMax = BYTES_MAX + FORM_OVERHEAD_BYTES;
  if (announcedBytes(request) > bytesMax) throw artifactTooLarge();
  const body = timed(bounded(request.body, bytesMax), clock);
  try {
    return await new Response(body, { headers: { 'content-type': typeOf(request) } }).formData();
  } catch (failure) {
    if (failure instanceof CodedError) throw failure;
    throw new CodedError('bad_request', { message: 'The multipart body could not be read.' });
  }
}

/** `body` as a stream that fails with `artifact_too_large` once it passes `bytesMax`. */
function bounded(body: Body, bytesMax: number): Body {
  let bytes = 0;
  const bound = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) controller.error(artifactTooLarge());
      else controller.enqueue(chunk);
    },
  });
  return body?.pipeThrough(bound) ?? null;
}

/**
 * `body` as a stream that fails with `request_timeout` unless it ends within `CONTROL_BOUNDS.uploadBodyMs` of
 * the first read, and where its bytes come more slowly than `uploadBytesPerSecondMin` after `uploadGraceMs`.
 * Only the time in which bytes were awaited counts for the rate, not that of a slow disk.
 */
function timed(body: Body, clock: Clock): Body {
  if (body === null) return null;
  const { uploadBodyMs, uploadGraceMs, uploadBytesPerSecondMin } = CONTROL_BOUNDS;
  const reader = body.getReader();
  let endMs: number | null = null;
  let bytes = 0;
  let waitedMs = 0;
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
      const startMs = clock.monotonicMs();
      endMs ??= startMs + uploadBodyMs;
      const patienceMs = uploadGraceMs + (bytes / uploadBytesPerSecondMin) * 1_000 - waitedMs;
      const leftMs = Math.min(endMs - startMs, patienceMs);
      const read = leftMs <= 0 ? 'late' : await within(clock, leftMs, reader.read());
      if (read === 'late') {
        void reader.cancel().catch(() => undefined);
        throw new CodedError('request_timeout');
      }
      waitedMs += clock.monotonicMs() - startMs;
      if (read.done) return controller.close();
      bytes += read.value.byteLength;
      controller.enqueue(read.value);
    },
    cancel: () => reader.cancel(),
  };
  return new ReadableStream<Uint8Array>(source, { highWaterMark: 0 });
}
