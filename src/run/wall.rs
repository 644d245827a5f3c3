//! Lengths of time on the command line.

use std::time::Duration;

use crate::error::{Error, Result};

/// A length of time such as `90s`, `15m`, `3h`, `1h30m`, `2d`; a bare number is seconds.
///
/// ```
/// use parseval::run::duration;
/// assert_eq!(duration("1h30m")?.as_secs(), 5400);
/// assert_eq!(duration("0.5s")?.as_millis(), 500);
/// # Ok::<(), parseval::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Parameter`] for anything else, and for lengths that are not positive.
pub fn duration(text: &str) -> Result<Duration> {
    let refuse = || Error::parameter("time", text, "must be a positive length such as 90s, 15m, 3h or 1h30m");
    let mut seconds = 0.0;
    let mut number = String::new();
    for c in text.trim().chars().chain(text.trim().ends_with(|c: char| c.is_ascii_digit()).then_some('s')) {
        let unit = match c {
            '0'..='9' | '.' => {
                number.push(c);
                continue;
            }
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            'd' => 86_400.0,
            _ => return Err(refuse()),
        };
        seconds += unit * std::mem::take(&mut number).parse::<f64>().map_err(|_| refuse())?;
    }
    let length = Duration::try_from_secs_f64(seconds).map_err(|_| refuse())?;
    if length.is_zero() || !number.is_empty() { Err(refuse()) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up_and_nonsense_is_refused() {
        for (text, seconds) in [("45", 45.0), ("90s", 90.0), ("1.5h", 5400.0), ("1d2h3m4s", 93_784.0), (" 2m ", 120.0)]
        {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds);
        }
        for text in ["", "h", "-3h", "3x", "0", "0s", "1.2.3s", "1e400", "3h.", "99999999999999999999999d"] {
            let message = duration(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("time = {text} is not allowed")), "{message}");
        }
    }
}
