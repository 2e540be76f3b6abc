//! What the content of a body was compared with.

/// The content of one body against what its message announced. Only bodies that are known whole are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyCheck {
    /// Bytes of the object: the content without aws-chunked framing.
    pub object_bytes: u64,
    /// MD5 of the object.
    pub md5: [u8; 16],
    /// MD5 of the content as sent, where that is framed as aws-chunked.
    pub framed_md5: Option<[u8; 16]>,
    /// The announced checksums that the content has.
    pub matched: Vec<ChecksumName>,
    /// The announced checksums that it has not.
    pub mismatched: Vec<Mismatch>,
}

/// An announced checksum that the content does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which.
    pub name: ChecksumName,
    /// As announced; wire text.
    pub announced: String,
    /// As computed, in the same form.
    pub computed: String,
}

macro_rules! checksums {
    ($($(#[$doc:meta])* $word:ident = $name:literal,)*) => {
        /// A checksum that a message can announce for its body.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ChecksumName {
            $($(#[$doc])* $word,)*
        }

        impl ChecksumName {
            /// Every name.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// The name of its header.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$word => $name,)*
                }
            }
        }
    };
}

checksums! {
    /// MD5 in base64 (RFC 1864).
    ContentMd5 = "content-md5",
    /// SHA-256 in hexadecimal, of the content as sent.
    ContentSha256 = "x-amz-content-sha256",
    /// CRC-32 (ISO-HDLC), big endian, in base64, as all that follow.
    Crc32 = "x-amz-checksum-crc32",
    /// CRC-32C (Castagnoli).
    Crc32c = "x-amz-checksum-crc32c",
    /// CRC-64/NVME.
    Crc64Nvme = "x-amz-checksum-crc64nvme",
    /// SHA-1.
    Sha1 = "x-amz-checksum-sha1",
    /// SHA-256.
    Sha256 = "x-amz-checksum-sha256",
}
