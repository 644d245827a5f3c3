//! Export to TensorBoard.
//!
//! An event file is a sequence of records `u64 length | u32 check(length) | payload | u32 check(payload)`, little-endian;
//! `check` is CRC-32C (Castagnoli, reflected polynomial 0x82F63B78) rotated right by 15 bits plus 0xA282EAD8, as in
//! TensorFlow's `record_writer.cc` and `crc32c.h`. A payload is a protocol buffer,
//! `Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5 }` with
//! `Summary { repeated Value value = 1 }` and `Value { string tag = 1; float simple_value = 2 }`.

use std::path::{Path, PathBuf};

use super::files;
use super::metrics::Record;
use crate::error::{Error, Result};

/// Writes the records into `folder` as scalars named `split/name`, in single precision as the format has it.
///
/// `started` is the Unix time of second 0 of the records. Gives the path of the file, one a start and folder: a second
/// export replaces the first. Look at it with `tensorboard --logdir FOLDER`.
///
/// # Errors
///
/// [`Error::Io`] if it cannot be written.
pub fn export(records: &[Record], started: f64, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let path = folder.join(format!("events.out.tfevents.{:010.0}.parseval", started.max(0.0)));
    files::replace(&path, &encode(records, started))?;
    Ok(path)
}

fn encode(records: &[Record], started: f64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut version = Vec::new();
    fixed64(&mut version, 1, started);
    bytes(&mut version, 3, b"brain.Event:2");
    append(&mut out, &version);
    for record in records {
        let mut value = Vec::new();
        bytes(&mut value, 1, format!("{}/{}", record.split, record.name).as_bytes());
        key(&mut value, 2, 5);
        value.extend((record.value as f32).to_le_bytes());
        let mut summary = Vec::new();
        bytes(&mut summary, 1, &value);
        let mut event = Vec::new();
        fixed64(&mut event, 1, started + record.seconds);
        key(&mut event, 2, 0);
        varint(&mut event, record.step);
        bytes(&mut event, 5, &summary);
        append(&mut out, &event);
    }
    out
}

/// One framed record.
fn append(out: &mut Vec<u8>, payload: &[u8]) {
    let length = (payload.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(check(&length).to_le_bytes());
    out.extend(payload);
    out.extend(check(payload).to_le_bytes());
}

/// Base 128, least significant group first.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Number and wire type of a field: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn fixed64(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(out, field, 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

/// The masked checksum of the record format.
fn check(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut word = i as u32;
            let mut bit = 0;
            while bit < 8 {
                word = if word & 1 == 1 { word >> 1 ^ 0x82F6_3B78 } else { word >> 1 };
                bit += 1;
            }
            table[i] = word;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_agrees_with_the_test_vectors_of_rfc_3720() {
        // RFC 3720, appendix B.4, and the usual check value of "123456789".
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&ascending), 0x46DD_794E);
        assert_eq!(crc32c(&descending), 0x113F_DB5C);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    /// Fields of a protocol buffer: number and content, varints as 8 bytes.
    fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(message: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (&byte, rest) = message.split_first().unwrap();
                *message = rest;
                value |= u64::from(byte & 0x7F) << shift;
                if byte < 0x80 {
                    return value;
                }
            }
            unreachable!()
        }
        let mut out = Vec::new();
        while !message.is_empty() {
            let key = varint(&mut message);
            let content = match key & 7 {
                0 => varint(&mut message).to_le_bytes().to_vec(),
                wire_type => {
                    let length = match wire_type {
                        1 => 8,
                        2 => varint(&mut message) as usize,
                        5 => 4,
                        other => panic!("wire type {other}"),
                    };
                    let (content, rest) = message.split_at(length);
                    message = rest;
                    content.to_vec()
                }
            };
            out.push((key >> 3, content));
        }
        out
    }

    /// CRC-32C bit by bit, without a table.
    fn slow_check(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for bit in bytes.iter().flat_map(|byte| (0..8).map(move |j| byte >> j & 1)) {
            let carry = (crc ^ u32::from(bit)) & 1;
            crc = (crc >> 1) ^ (0x82F6_3B78 * carry);
        }
        let crc = !crc;
        crc.rotate_right(15).wrapping_add(0xA282_EAD8)
    }

    #[test]
    fn events_parse_back_to_the_records() {
        let records: Vec<Record> = [(1, 0.5, "train", "loss", 3.0), (300, 2.0, "valid", "rel_l2", f64::NAN)]
            .map(|(step, seconds, split, name, value)| Record::new(step, seconds, split, name, value))
            .into();
        let dir = tempfile::tempdir().unwrap();
        let path = export(&records, 1000.25, &dir.path().join("tensorboard")).unwrap();
        assert!(path.file_name().unwrap().to_str().unwrap().contains("tfevents"));
        let file = std::fs::read(path).unwrap();
        let mut rest = &file[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!(word(8), slow_check(&rest[..8]));
            let payload = &rest[12..12 + length];
            assert_eq!(word(12 + length), slow_check(payload));
            events.push(fields(payload));
            rest = &rest[16 + length..];
        }
        assert_eq!(events.len(), 3);
        assert_eq!(events[0][1], (3, b"brain.Event:2".to_vec()));
        for (event, record) in events[1..].iter().zip(&records) {
            assert_eq!(event[0], (1, (1000.25 + record.seconds).to_le_bytes().to_vec()));
            assert_eq!(event[1], (2, record.step.to_le_bytes().to_vec()));
            assert_eq!(event[2].0, 5);
            let value = fields(&fields(&event[2].1)[0].1);
            assert_eq!(value[0], (1, format!("{}/{}", record.split, record.name).into_bytes()));
            assert_eq!(value[1], (2, (record.value as f32).to_le_bytes().to_vec()));
        }
    }
}
