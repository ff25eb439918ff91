DROP INDEX `deployments_active`;--> statement-breakpoint
ALTER TABLE `deployments` ADD `from_version` text;--> statement-breakpoint
ALTER TABLE `deployments` ADD `rank` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `deployments_active` ON `deployments` (`function_id`) WHERE status = 'active';--> statement-breakpoint
ALTER TABLE `functions` ADD `desired_revision` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `functions_desired` ON `functions` (`desired_revision`);--> statement-breakpoint
ALTER TABLE `join_tokens` ADD `labels` text DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE `nodes` ADD `reported_labels` text DEFAULT '{}' NOT NULL;--> statement-breakpoint
UPDATE `deployments` SET `rank` = `revision`;--> statement-breakpoint
UPDATE `nodes` SET `reported_labels` = `labels`;
