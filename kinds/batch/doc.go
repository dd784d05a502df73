// Package batch holds the kinds of the batch group, one file a kind with all of its meaning, and what a cron schedule means ([ParseSchedule]).
package batch
