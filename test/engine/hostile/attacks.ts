// The names of the attacks of attacks.c and attacks_memory.c.

/** System calls with arguments that a worker does not need: each ends the worker. */
export const KILLED_CALLS: readonly string[] =
  `share grow-down huge-pages populate lock-mapped map-code map-high map-descriptor map-ring
  make-code make-downward make-file make-secret lock lock-all fault-by-hand attach requeue compare-requeue
  lock-priority unlock-priority requeue-priority wait-priority wait-bits wake-change wait-many robust
  clock-of-init clock-of-device sleep-on-init send-urgent send-address send-more send-waiting send-elsewhere
  send-descriptor write-wake read-wake close-wake copy-wake own-wake open socket fork thread run kill
  signal-init limits filter wake-flag`.split(/\s+/);

/** What a worker may do, or is killed for later. */
export const OTHER_ATTACKS: readonly string[] =
  `seek remap-slots remap advise fill keep-all keep-private keep-slots block fault-for-ever handle-in-slots
  replace-code return leave abort exit-0 exit-41 exit-42 sleep spin flood lie`.split(/\s+/);
