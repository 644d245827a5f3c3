//! Files appear whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::raster::Pixels;
use crate::error::{Error, Result};

/// Hands `write` a temporary file in the folder of `path` and renames it to `path` when that succeeded.
///
/// # Errors
///
/// [`Error::Io`] if the folder does not exist or cannot be written; the temporary file is removed.
pub(super) fn write_atomically(path: &Path, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::parameter("path", path.display(), "must name a file"))?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{}", std::process::id()));
    let temporary: PathBuf = path.with_file_name(temporary_name);
    let finish = || -> io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        write(&mut file)?;
        drop(file);
        fs::rename(&temporary, path)
    };
    finish().map_err(|e| {
        // Nothing is lost if it was never made.
        let _ = fs::remove_file(&temporary);
        Error::io(path, e)
    })
}

/// The bytes of a PNG file with `pixels`.
pub(super) fn encode_png(pixels: &Pixels) -> Result<Vec<u8>> {
    encode_png_at(pixels, None)
}

/// As [`encode_png`], with a resolution in dots per inch for print.
pub(super) fn encode_png_at(pixels: &Pixels, dpi: Option<f64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width as u32, pixels.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    if let Some(dpi) = dpi {
        let per_metre = (dpi / 0.0254).round() as u32;
        let unit = png::Unit::Meter;
        encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: per_metre, yppu: per_metre, unit }));
    }
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(&pixels.rgb));
    written.map_err(|e| Error::format("image", format!("PNG encoder: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, |f| f.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |f| {
            f.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(matches!(failed, Err(Error::Io { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none").join("a.png");
        let e = write_atomically(&path, |_| Ok(())).unwrap_err();
        assert!(e.to_string().contains("a.png"), "{e}");
    }
}
