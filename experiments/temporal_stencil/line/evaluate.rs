use parseval::Result;
use crate::Session;
pub fn evaluate(_s: &Session) -> Result<()> { Ok(()) }
