"""The command line: the commands' dispatcher, LightningCLI and the resolver of configurations."""
