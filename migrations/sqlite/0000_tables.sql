CREATE TABLE `artifacts` (
	`sha256` text PRIMARY KEY NOT NULL,
	`size_bytes` integer NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `audit` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at_ms` integer NOT NULL,
	`revision` integer NOT NULL,
	`actor` text NOT NULL,
	`action` text NOT NULL,
	`target` text NOT NULL,
	`detail` text NOT NULL,
	`hash` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `counters` (
	`name` text PRIMARY KEY NOT NULL,
	`value` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `deployments` (
	`id` text PRIMARY KEY NOT NULL,
	`function_id` text NOT NULL,
	`version` text NOT NULL,
	`previous_version` text,
	`pop_selector` text,
	`target_pop` text,
	`status` text NOT NULL,
	`revision` integer NOT NULL,
	`created_at_ms` integer NOT NULL,
	FOREIGN KEY (`function_id`) REFERENCES `functions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `deployments_active` ON `deployments` (`function_id`) WHERE status = 'active';--> statement-breakpoint
CREATE INDEX `deployments_function` ON `deployments` (`function_id`);--> statement-breakpoint
CREATE TABLE `functions` (
	`id` text PRIMARY KEY NOT NULL,
	`project_id` text NOT NULL,
	`name` text NOT NULL,
	`pop_selector` text,
	`created_at_ms` integer NOT NULL,
	FOREIGN KEY (`project_id`) REFERENCES `projects`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `functions_name` ON `functions` (`project_id`,`name`);--> statement-breakpoint
CREATE TABLE `idempotency` (
	`id` text PRIMARY KEY NOT NULL,
	`request_digest` text NOT NULL,
	`status` integer NOT NULL,
	`sealed_body` text NOT NULL,
	`expires_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `idempotency_expiry` ON `idempotency` (`expires_at_ms`);--> statement-breakpoint
CREATE TABLE `join_tokens` (
	`hash` text PRIMARY KEY NOT NULL,
	`node_id` text,
	`pop_id` text,
	`created_at_ms` integer NOT NULL,
	`expires_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `node_functions` (
	`node_id` text NOT NULL,
	`function_id` text NOT NULL,
	`version` text NOT NULL,
	`observed` text NOT NULL,
	`changed_at_ms` integer NOT NULL,
	PRIMARY KEY(`node_id`, `function_id`, `version`),
	FOREIGN KEY (`node_id`) REFERENCES `nodes`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`function_id`) REFERENCES `functions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `node_functions_function` ON `node_functions` (`function_id`,`version`);--> statement-breakpoint
CREATE TABLE `nodes` (
	`id` text PRIMARY KEY NOT NULL,
	`pop_id` text NOT NULL,
	`labels` text NOT NULL,
	`status` text NOT NULL,
	`edge_version` text NOT NULL,
	`applied_revision` integer NOT NULL,
	`applied_digest` text,
	`cpu_percent` real NOT NULL,
	`mem_bytes` integer NOT NULL,
	`token_hash` text NOT NULL,
	`joined_at_ms` integer NOT NULL,
	`last_heartbeat_at_ms` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `nodes_token` ON `nodes` (`token_hash`);--> statement-breakpoint
CREATE TABLE `projects` (
	`id` text PRIMARY KEY NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `routes` (
	`id` text PRIMARY KEY NOT NULL,
	`function_id` text NOT NULL,
	`host` text NOT NULL,
	`path` text NOT NULL,
	`shape` text NOT NULL,
	`methods` text NOT NULL,
	`priority` integer NOT NULL,
	`created_at_ms` integer NOT NULL,
	FOREIGN KEY (`function_id`) REFERENCES `functions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `routes_place` ON `routes` (`host`,`shape`,`priority`);--> statement-breakpoint
CREATE INDEX `routes_function` ON `routes` (`function_id`);--> statement-breakpoint
CREATE TABLE `tokens` (
	`hash` text PRIMARY KEY NOT NULL,
	`role` text NOT NULL,
	`name` text NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `versions` (
	`function_id` text NOT NULL,
	`version` text NOT NULL,
	`status` text NOT NULL,
	`settings` text NOT NULL,
	`sha256` text,
	`report` text,
	`created_at_ms` integer NOT NULL,
	`published_at_ms` integer,
	PRIMARY KEY(`function_id`, `version`),
	FOREIGN KEY (`function_id`) REFERENCES `functions`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`sha256`) REFERENCES `artifacts`(`sha256`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `versions_artifact` ON `versions` (`sha256`);