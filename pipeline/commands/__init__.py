"""The commands of `cpp-pipe`: each reads flags, prints, and leaves the work to other modules."""
