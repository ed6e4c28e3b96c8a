//! The commands.

pub mod mock_provider;
