CREATE TABLE `epochs` (
	`id` text PRIMARY KEY NOT NULL,
	`ended_revision` integer,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `nodes` ADD `rebase` text;