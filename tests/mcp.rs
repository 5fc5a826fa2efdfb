//! Agents call tools by MCP: what is granted, and nothing else, however they ask.

mod http;
mod oauth;
mod official;
mod remote;
mod stdio;
