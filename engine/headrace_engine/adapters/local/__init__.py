"""The ports on one machine: an SQLite file and a folder, which survive the process however it ends."""
