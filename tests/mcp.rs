//! Agents call tools by MCP: what is granted, and nothing else, however they ask.

mod http;
mod official;
mod remote;
mod stdio;
