"""What tests run against: real daemons, programs and people, started and ended."""
