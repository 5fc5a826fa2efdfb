//! Bar charts. Bars begin at the line of zero, so that negative values hang from it.

use std::fmt::Write as _;

use portcullis_sdk::ToolError;

/// The most bars: each has at least two pixels and one between it and the next.
pub(crate) const BARS_MAX: usize = 200;

const WIDTH: usize = 640;
const HEIGHT: usize = 360;

/// Background, axis, bar: the colours of the PNG, by their index.
const PALETTE: [u8; 9] = [0xff, 0xff, 0xff, 0x33, 0x33, 0x33, 0x2f, 0x6d, 0xb5];
const BACKGROUND: u8 = 0;
const AXIS: u8 = 1;
const BAR: u8 = 2;

/// One bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar<'a> {
    pub(crate) label: &'a str,
    pub(crate) value: f64,
}

/// Where the bars stand, in pixels from the top left corner.
struct Layout {
    /// The row of zero.
    zero: usize,
    /// Of each bar: left, right (not included), top, bottom (not included).
    rectangles: Vec<[usize; 4]>,
}

fn layout(bars: &[Bar<'_>]) -> Layout {
    let greatest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let least = bars.iter().map(|bar| bar.value).fold(0.0, f64::min);
    // Halved, so that no range of two doubles is infinite; nothing but zeros is flat.
    let range = greatest / 2.0 - least / 2.0;
    let row = |value: f64| {
        let share = if range > 0.0 { (greatest / 2.0 - value / 2.0) / range } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to HEIGHT - 1")]
        let row = (share * (HEIGHT - 1) as f64).round() as usize;
        row.min(HEIGHT - 1)
    };
    let zero = row(0.0);
    let slot = WIDTH / bars.len().max(1);
    let gap = (slot / 5).max(1);
    let rectangles = bars.iter().enumerate().map(|(index, bar)| {
        let end = row(bar.value);
        [index * slot, (index + 1) * slot - gap, zero.min(end), zero.max(end)]
    });
    Layout { zero, rectangles: rectangles.collect() }
}

/// The chart as a PNG file.
pub(crate) fn png(bars: &[Bar<'_>]) -> Result<Vec<u8>, ToolError> {
    let layout = layout(bars);
    let mut pixels = vec![BACKGROUND; WIDTH * HEIGHT];
    for [left, right, top, bottom] in layout.rectangles {
        for row in top..bottom {
            pixels[row * WIDTH + left..row * WIDTH + right].fill(BAR);
        }
    }
    pixels[layout.zero * WIDTH..(layout.zero + 1) * WIDTH].fill(AXIS);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(&PALETTE[..]);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

/// The chart as an SVG document, with labels.
pub(crate) fn svg(bars: &[Bar<'_>]) -> String {
    let layout = layout(bars);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        HEIGHT + 20
    );
    for (bar, [left, right, top, bottom]) in bars.iter().zip(layout.rectangles) {
        let (width, height, middle) = (right - left, bottom - top, (left + right) / 2);
        let (label, below) = (escaped(bar.label), HEIGHT + 14);
        // Writing into a string can't fail.
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"#2f6db5\">\
             <title>{label}: {}</title></rect>\
             <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>",
            bar.value
        );
    }
    let _ = writeln!(svg, "<path d=\"M0 {0}H{WIDTH}\" stroke=\"#333\"/>\n</svg>", layout.zero);
    svg
}

/// Text that can stand in XML. What XML can't hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[f64]) -> Vec<Bar<'static>> {
        values.iter().map(|value| Bar { label: "a", value: *value }).collect()
    }

    /// The pixels of a PNG file, by the index of their colour.
    fn pixels(file: &[u8]) -> Vec<u8> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG file");
        let mut pixels = vec![0; WIDTH * HEIGHT];
        let frame = reader.next_frame(&mut pixels).expect("its pixels");
        assert_eq!((frame.width as usize, frame.height as usize), (WIDTH, HEIGHT));
        pixels
    }

    #[test]
    fn bars_stand_on_zero_or_hang_from_it() {
        let file = png(&bars(&[3.0, 0.0, -1.0])).expect("a file");
        let pixels = pixels(&file);
        let zero = 269;
        let at = |row: usize, column: usize| pixels[row * WIDTH + column];
        assert_eq!((at(zero, 0), at(zero, WIDTH - 1)), (AXIS, AXIS));
        assert_eq!((at(0, 10), at(zero - 1, 10), at(zero + 1, 10)), (BAR, BAR, BACKGROUND));
        assert_eq!((at(zero - 1, 223), at(zero + 1, 223)), (BACKGROUND, BACKGROUND));
        assert_eq!((at(zero - 1, 436), at(zero + 1, 436), at(358, 436)), (BACKGROUND, BAR, BAR));
    }

    #[test]
    fn every_list_of_numbers_can_be_drawn() {
        for values in [vec![], vec![0.0], vec![f64::MAX, f64::MIN], vec![5e-324], vec![-1.0; BARS_MAX]] {
            let bars = bars(&values);
            let file = png(&bars).expect("a file");
            assert_eq!(pixels(&file).len(), WIDTH * HEIGHT);
            assert_eq!(svg(&bars).matches("<title>").count(), bars.len());
        }
    }

    #[test]
    fn labels_can_not_break_the_document() {
        let svg = svg(&[Bar { label: "<script>&\"\u{0}", value: 1.0 }]);
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;&amp;&quot;\u{fffd}"), "{svg}");
    }
}
