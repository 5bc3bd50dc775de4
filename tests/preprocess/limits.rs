use ocelli::preprocess::decode::{Limits, Options, decode};

use super::{decode_bytes, read};

fn limited(data: &[u8], max_pixels: u64) -> ocelli::Result<(u32, u32)> {
    let mut options = Options::default();
    options.limits = Limits::new(max_pixels);
    decode(data, &options).map(|image| (image.view().width(), image.view().height()))
}

/// A few bytes that promise hundreds of megapixels.
#[test]
fn bombs_are_refused_by_their_header() {
    let mut png = read("images/landscape.png");
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut jpeg = read("decode/cmyk_photo.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let files = ["solid.webp", "prog.jpg", "rle.bmp"].map(|name| read(&format!("decode/limits/{name}")));
    for data in files.iter().chain([&png, &jpeg]) {
        let error = decode_bytes(data).unwrap_err().to_string();
        assert!(error.contains("limit of 64000000 pixels") && error.contains("OCELLI_MAX_PIXELS"), "{error}");
    }
    // 8000 x 7900 pixels of four inks are within the limit, but not with the coefficients of a progressive picture.
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1e, 0xdc, 0x1f, 0x40]);
    jpeg[frame + 1] = 0xc2;
    let error = decode_bytes(&jpeg).unwrap_err().to_string();
    assert!(error.contains("MB to decode"), "{error}");
}

#[test]
fn the_limit_is_the_number_of_pixels() {
    for name in
        ["images/photo.jpg", "images/landscape.png", "decode/found/gif_int.gif", "decode/found/g16.tif"]
    {
        let data = read(name);
        let (width, height) = limited(&data, 64_000_000).unwrap();
        let pixels = u64::from(width) * u64::from(height);
        assert!(limited(&data, pixels - 1).is_err(), "{name}");
        // Small pictures have more metadata than the ten bytes a pixel allow for.
        assert_eq!(limited(&data, pixels + 10_000).unwrap(), (width, height), "{name}");
    }
    assert!(limited(&read("images/photo.jpg"), 0).is_err());
    assert!(limited(&read("images/photo.jpg"), u64::MAX).is_ok());
}
