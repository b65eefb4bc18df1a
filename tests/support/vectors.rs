//! Vectors in tab-separated files: rows, hexadecimal, and bytes made readable with `%NN`.

/// The rows of a file, each split at its tabs.
pub fn rows(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|line| !line.is_empty()).map(|line| line.split('\t').collect())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Bytes of a text in which `%NN` stands for the byte NN.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        out.extend(unhex(&part[..2]));
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    out
}
