"""The commands of `cpp-pipe`: each is thin, prints, and leaves the work to what lies beneath."""
