// How a child of the engine process ended.

/** `value` is the exit code, the signal, or the errno of the fork. */
export type ProcessExit = { how: 'exited' | 'signalled' | 'not_forked'; value: number };
