"""What the tests of writing, rotating, crashing and freezing share. Nothing in here tests anything by itself."""
