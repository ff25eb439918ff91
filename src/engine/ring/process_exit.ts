// How a process of the engine ended, and why none of them can ever serve.

/** `value` is the exit code, the signal, or the errno of the fork. */
export type ProcessExit = { how: 'exited' | 'signalled' | 'not_forked'; value: number };

/** No other engine process would serve either. Its message says what is wrong and what to do. */
export class EngineUnusable extends Error {}
