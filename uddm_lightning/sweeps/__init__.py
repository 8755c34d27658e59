"""Many runs: sizes, seeds and backbones."""
