//! What a file is, by its first bytes. A name says little: a `.safetensors` may be the page of a login form.

use crate::error::Refused;

/// Bytes that [`FileKind::of`] needs; fewer only if the file has fewer.
pub const SNIFF_BYTES: usize = 64;

/// Kinds of files that people have where weights should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A length and JSON.
    Safetensors,
    /// A zip archive, as `torch.save` writes it.
    TorchZip,
    /// The format of `torch.save` before 2020.
    LegacyPickle,
    /// Quantised weights of llama.cpp and its relatives.
    Gguf,
    /// The text that git keeps instead of a large file.
    LfsPointer,
    /// A web page.
    Html,
    /// Nothing at all.
    Empty,
    /// Anything else.
    Unknown,
}

impl FileKind {
    /// The kind of a file that starts with these bytes.
    pub(crate) fn of(start: &[u8]) -> Self {
        // Not more: callers pass whole mapped files, and this makes a copy.
        let start = &start[..start.len().min(SNIFF_BYTES)];
        let text = start.trim_ascii_start().to_ascii_lowercase();
        match start {
            [] => Self::Empty,
            _ if start.starts_with(b"GGUF") => Self::Gguf,
            _ if start.starts_with(b"version https://git-lfs") => Self::LfsPointer,
            _ if start.starts_with(b"PK\x03\x04") => Self::TorchZip,
            _ if start.starts_with(&[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46]) => Self::LegacyPickle,
            _ if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") => Self::Html,
            // Eight bytes of length, then the brace of a JSON object.
            [_, _, _, _, _, _, _, _, b'{', ..] => Self::Safetensors,
            _ => Self::Unknown,
        }
    }

    /// Why a file of this kind is no safetensors file, with the remedy; `None` for one that is.
    pub(crate) fn refusal(self) -> Option<Refused> {
        let reason = match self {
            Self::Safetensors => return None,
            Self::TorchZip => {
                "is a PyTorch file; convert it with `worker convert IN OUT`, which executes nothing in it"
            }
            Self::LegacyPickle => {
                "is a PyTorch file in the format before release 1.6; load it with PyTorch and save it again with \
                 safetensors.torch.save_file"
            }
            Self::Gguf => {
                "is a GGUF file, whose quantised weights are not supported; get the safetensors release of the model, or \
                 convert the file with ComfyUI-GGUF's tools (dequantize)"
            }
            Self::LfsPointer => {
                "is a git-lfs pointer and not the file itself; run `git lfs pull`, or download it again"
            }
            Self::Html => "is a web page; the download needs a login or a direct link",
            Self::Empty => "is empty; download it again",
            Self::Unknown => "is not a safetensors file; download it again",
        };
        Some(Refused::new(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_first_bytes() {
        let cases: [(&[u8], FileKind); 8] = [
            (b"", FileKind::Empty),
            (b"GGUF\x03\0\0\0", FileKind::Gguf),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", FileKind::LfsPointer),
            (b"PK\x03\x04\0\0", FileKind::TorchZip),
            (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9", FileKind::LegacyPickle),
            (b"\n <!DOCTYPE HTML>", FileKind::Html),
            (b"\x10\0\0\0\0\0\0\0{\"a\":", FileKind::Safetensors),
            (b"hello there, world", FileKind::Unknown),
        ];
        for (bytes, kind) in cases {
            assert_eq!(FileKind::of(bytes), kind, "{bytes:?}");
            assert_eq!(kind.refusal().is_none(), kind == FileKind::Safetensors);
        }
    }
}
