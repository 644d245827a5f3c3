//! The conformance suite: each back end writes, each back end reads.

use super::*;
use tempfile::tempdir;

fn backends() -> Vec<Backend> {
    vec![
        Backend::Pure,
        #[cfg(feature = "libhdf5")]
        Backend::Library,
    ]
}

/// Runs `check(writer, reader)` for each pair of back ends.
fn each_pair(check: impl Fn(Backend, Backend)) {
    for writer in backends() {
        for reader in backends() {
            check(writer, reader);
        }
    }
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn every_element_type_comes_back_bit_for_bit() {
    each_pair(|writer, reader| {
        let dir = tempdir().unwrap();
        let path = dir.path().join("types.h5");
        let mut sink = writer.create(&path).unwrap();
        sink.group("/g").unwrap();
        sink.group("/g/inner").unwrap();
        let f32s = [1.5f32, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::NAN, f32::INFINITY];
        let f64s = [1.0 / 3.0, -0.0, 5e-324, f64::MAX, f64::NAN, f64::NEG_INFINITY];
        for (name, dtype, slice) in [
            ("/g/f32", Dtype::F32, Slice::F32(&f32s)),
            ("/g/f64", Dtype::F64, Slice::F64(&f64s)),
            ("/g/i64", Dtype::I64, Slice::I64(&[0, 1, -1, i64::MIN, i64::MAX, 7])),
            ("/g/u64", Dtype::U64, Slice::U64(&[0, 1, u64::MAX, 3, 4, 5])),
            ("/g/u8", Dtype::U8, Slice::U8(&[0, 1, 255, 3, 4, 5])),
            ("/g/inner/bool", Dtype::Bool, Slice::Bool(&[true, false, false, true, true, false])),
        ] {
            sink.dataset(name, &Create::contiguous(&[2, 3], dtype)).unwrap();
            sink.write(name, &[0, 0], &[2, 3], slice).unwrap();
        }
        sink.dataset("/scalar", &Create::contiguous(&[], Dtype::F64)).unwrap();
        sink.write("/scalar", &[], &[], Slice::F64(&[2.5])).unwrap();
        sink.close().unwrap();

        let source = reader.open(&path).unwrap();
        let read = |name: &str| source.read(name, &[0, 0], &[2, 3]).unwrap();
        let Values::F32(got) = read("/g/f32") else { panic!("{:?}", read("/g/f32")) };
        assert!(got.iter().zip(&f32s).all(|(a, b)| a.to_bits() == b.to_bits()), "{got:?}");
        let Values::F64(got) = read("/g/f64") else { panic!("{:?}", read("/g/f64")) };
        assert!(got.iter().zip(&f64s).all(|(a, b)| a.to_bits() == b.to_bits()), "{got:?}");
        assert_eq!(read("/g/i64"), Values::I64(vec![0, 1, -1, i64::MIN, i64::MAX, 7]));
        assert_eq!(read("/g/u64"), Values::U64(vec![0, 1, u64::MAX, 3, 4, 5]));
        assert_eq!(read("/g/u8"), Values::U64(vec![0, 1, 255, 3, 4, 5]));
        assert_eq!(read("/g/inner/bool"), Values::U64(vec![1, 0, 0, 1, 1, 0]));
        assert_eq!(source.read("/scalar", &[], &[]).unwrap(), Values::F64(vec![2.5]));
        assert_eq!(source.info("/g/inner/bool").unwrap().dtype, Dtype::Bool);
        assert_eq!(source.info("/g/u8").unwrap().dtype, Dtype::U8);
        assert!(source.info("/scalar").unwrap().shape.is_empty());
        let names: Vec<_> = source.members("/g").unwrap().into_iter().map(|m| (m.name, m.is_group)).collect();
        let expected = [("f32", false), ("f64", false), ("i64", false), ("inner", true), ("u64", false), ("u8", false)];
        assert_eq!(names, expected.map(|(n, g)| (n.to_owned(), g)));
    });
}

#[test]
fn attributes_of_groups_and_datasets_come_back() {
    let attributes: Vec<(&str, Attr)> = vec![
        ("float", Attr::Float(0.1)),
        ("int", Attr::Int(-7)),
        ("unsigned", Attr::Unsigned(u64::MAX)),
        ("yes", Attr::Bool(true)),
        ("no", Attr::Bool(false)),
        ("text", Attr::Text("u_t + u u_x = \u{3bd} u_xx".into())),
        ("empty text", Attr::Text(String::new())),
        ("long text", Attr::Text("x".repeat(100_000))),
        ("floats", Attr::Floats(vec![1.0, 2.0])),
        ("ints", Attr::Ints(vec![1, -2, 3])),
        ("bools", Attr::Bools(vec![true, false])),
        ("texts", Attr::Texts(vec!["\u{3c9}".into(), String::new(), "velocity".into()])),
        ("no texts", Attr::Texts(vec![])),
    ];
    each_pair(|writer, reader| {
        let dir = tempdir().unwrap();
        let path = dir.path().join("attributes.h5");
        let mut sink = writer.create(&path).unwrap();
        sink.group("/g").unwrap();
        sink.dataset("/d", &Create::contiguous(&[2], Dtype::F64)).unwrap();
        for object in ["/", "/g", "/d"] {
            for (name, value) in &attributes {
                sink.attribute(object, name, value).unwrap();
            }
        }
        sink.close().unwrap();
        let source = reader.open(&path).unwrap();
        for object in ["/", "/g", "/d"] {
            let got = source.attributes(object).unwrap();
            for (name, value) in &attributes {
                assert_eq!(got.get(*name), Some(value), "{writer:?} -> {reader:?}, {object} {name}");
            }
        }
    });
}

#[test]
fn hyperslabs_of_all_storages_agree_with_the_whole() {
    let shape = [5, 6, 7];
    let data: Vec<f64> = (0..210).map(f64::from).collect();
    each_pair(|writer, reader| {
        let dir = tempdir().unwrap();
        let path = dir.path().join("slabs.h5");
        let mut sink = writer.create(&path).unwrap();
        let chunk = [2, 4, 3];
        let chunked = Create { shape: &shape, dtype: Dtype::F64, chunk: Some(&chunk), deflate: None };
        sink.dataset("/contiguous", &Create::contiguous(&shape, Dtype::F64)).unwrap();
        sink.dataset("/chunked", &chunked).unwrap();
        sink.dataset("/deflate", &Create { deflate: Some(4), ..chunked.clone() }).unwrap();
        for name in ["/contiguous", "/chunked", "/deflate"] {
            // Two hyperslabs, the seam off the chunk boundary.
            sink.write(name, &[0, 0, 0], &[3, 6, 7], Slice::F64(&data[..126])).unwrap();
            sink.write(name, &[3, 0, 0], &[2, 6, 7], Slice::F64(&data[126..])).unwrap();
        }
        sink.close().unwrap();
        let source = reader.open(&path).unwrap();
        assert_eq!(source.info("/chunked").unwrap().chunk, Some(chunk.to_vec()));
        assert_eq!(source.info("/chunked").unwrap().offset, None);
        for name in ["/contiguous", "/chunked", "/deflate"] {
            assert_eq!(source.read(name, &[0; 3], &shape).unwrap(), Values::F64(data.clone()), "{name}");
            let got: Vec<f64> = source.read(name, &[1, 2, 3], &[3, 3, 2]).unwrap().into_real();
            let mut expected = Vec::new();
            for i in 1..4 {
                for j in 2..5 {
                    expected.extend((3..5).map(|k| f64::from(42 * i + 7 * j + k)));
                }
            }
            assert_eq!(got, expected, "{writer:?} -> {reader:?}, {name}");
            assert!(source.read(name, &[0, 0, 5], &[1, 1, 3]).is_err(), "beyond the last axis");
            assert!(source.read(name, &[0, 0], &[1, 1]).is_err(), "wrong rank");
        }
    });
}

#[test]
fn contiguous_storage_is_allocated_at_creation_and_lies_at_its_offset() {
    each_pair(|writer, reader| {
        let dir = tempdir().unwrap();
        let path = dir.path().join("offset.h5");
        let mut sink = writer.create(&path).unwrap();
        sink.dataset("/a", &Create::contiguous(&[1000], Dtype::F32)).unwrap();
        sink.dataset("/b", &Create::contiguous(&[10], Dtype::F64)).unwrap();
        sink.close().unwrap();
        let before = reader.open(&path).unwrap();
        assert_eq!(before.read("/b", &[0], &[10]).unwrap(), Values::F64(vec![0.0; 10]));
        let offset = before.info("/a").unwrap().offset.unwrap();
        drop(before);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = offset as usize + 4 * 999;
        bytes[at..at + 4].copy_from_slice(&2.5f32.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let after = reader.open(&path).unwrap();
        assert_eq!(after.read("/a", &[998], &[2]).unwrap(), Values::F32(vec![0.0, 2.5]));
    });
}

#[test]
fn scales_and_hard_links_name_the_same_objects() {
    each_pair(|writer, reader| {
        let dir = tempdir().unwrap();
        let path = dir.path().join("scales.h5");
        let mut sink = writer.create(&path).unwrap();
        sink.group("/dimensions").unwrap();
        for (name, n) in [("/x", 3), ("/y", 2)] {
            sink.dataset(name, &Create::contiguous(&[n], Dtype::F64)).unwrap();
            sink.write(name, &[0], &[n], Slice::F64(&vec![0.5; n])).unwrap();
            sink.scale(name, &name[1..]).unwrap();
            sink.link(name, &format!("/dimensions{name}")).unwrap();
        }
        for name in ["/u", "/v"] {
            sink.dataset(name, &Create::contiguous(&[3, 2], Dtype::F32)).unwrap();
            sink.attach(name, 0, "/x").unwrap();
            sink.attach(name, 1, "/y").unwrap();
        }
        sink.close().unwrap();
        let source = reader.open(&path).unwrap();
        for name in ["/u", "/v"] {
            assert_eq!(source.scales(name).unwrap(), [Some("/x".to_owned()), Some("/y".to_owned())]);
        }
        assert_eq!(read_all(source.as_ref(), "/dimensions/y").unwrap(), [0.5; 2]);
        assert_eq!(source.attributes("/x").unwrap()["CLASS"], Attr::Text("DIMENSION_SCALE".into()));
        assert_eq!(source.scales("/x").unwrap(), [None]);
    });
}

#[test]
fn errors_name_the_file_and_the_object() {
    for backend in backends() {
        let dir = tempdir().unwrap();
        let missing = dir.path().join("missing.h5");
        assert!(matches!(backend.open(&missing), Err(Error::Io { path, .. }) if path == missing));
        let text = dir.path().join("text.h5");
        std::fs::write(&text, "no HDF5").unwrap();
        assert!(matches!(backend.open(&text), Err(Error::Format { .. })));
        let nowhere = dir.path().join("no/such/folder.h5");
        assert!(matches!(backend.create(&nowhere), Err(Error::Io { .. })));

        let path = dir.path().join("a.h5");
        let mut sink = backend.create(&path).unwrap();
        assert!(sink.dataset("/no/group", &Create::contiguous(&[1], Dtype::F64)).is_err());
        sink.dataset("/d", &Create::contiguous(&[2], Dtype::F64)).unwrap();
        assert!(matches!(sink.write("/d", &[0], &[2], Slice::F64(&[1.0])), Err(Error::Shape { .. })));
        assert!(sink.write("/d", &[1], &[2], Slice::F64(&[1.0; 2])).is_err());
        sink.close().unwrap();
        let source = backend.open(&path).unwrap();
        let error = source.read("/nothing", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("a.h5") && error.contains("/nothing"), "{error}");
        assert!(source.members("/d").is_err());
        assert!(source.attributes("/e").is_err());
    }
}

#[test]
fn foreign_filters_byte_orders_and_user_blocks_are_read() {
    for backend in backends() {
        // Ramp 0, 1, 2, ... in every dataset; see make_fixtures.py.
        let source = backend.open(&fixture("conformance.h5")).unwrap();
        let ramp: Vec<f64> = (0..120).map(f64::from).collect();
        for name in ["/f32_be", "/f64_be", "/i16_be", "/gzip", "/lzf", "/plain", "/old/group/f64"] {
            assert_eq!(read_all(source.as_ref(), name).unwrap(), ramp, "{backend:?} {name}");
            let part: Vec<f64> = source.read(name, &[1, 2], &[2, 3]).unwrap().into_real();
            assert_eq!(part, [14.0, 15.0, 16.0, 26.0, 27.0, 28.0], "{backend:?} {name}");
        }
        let root = source.attributes("/").unwrap();
        assert_eq!(root["nu"], Attr::Float(0.01));
        assert_eq!(root["f32_be"].as_f64(), Some(0.5));
        assert_eq!(root["i32"], Attr::Int(-3));
        assert_eq!(root["bytes"], Attr::Text("fixed".into()));
        assert_eq!(root["text"], Attr::Text("\u{3bd}".into()));
        assert_eq!(root["names"], Attr::Texts(vec!["a".into(), "\u{3b2}".into()]));
        assert_eq!(root["flag"], Attr::Bool(true));
        // More than eight attributes move to a heap in the newer format.
        assert_eq!(source.attributes("/old").unwrap().len(), 20);

        let latest = backend.open(&fixture("conformance_latest.h5")).unwrap();
        assert_eq!(latest.attributes("/many").unwrap().len(), 20);
        assert_eq!(latest.members("/many").unwrap().len(), 30);
        assert_eq!(read_all(latest.as_ref(), "/many/d07").unwrap(), [7.0]);

        let block = backend.open(&fixture("fno_v73.mat")).unwrap();
        assert_eq!(block.info("/u").unwrap().shape, [3, 6, 5, 4]);
        assert_eq!(block.attributes("/u").unwrap()["MATLAB_class"], Attr::Text("single".into()));
    }
}
