ALTER TABLE `join_tokens` ADD `public_key` text;--> statement-breakpoint
ALTER TABLE `nodes` ADD `public_key` text;--> statement-breakpoint
ALTER TABLE `nodes` ADD `join_token_hash` text;