use super::*;

#[test]
fn marks_come_back_from_their_text() {
    let mut marks = Marks::default();
    assert_eq!(marks.to_string().parse(), Ok(marks.clone()));
    for (lane, last) in [(7, 1 << 40), (u32::MAX, (1 << 40) + APART_MAX), (0, (1 << 40) + 3)] {
        marks.set(lane, last);
        assert_eq!(marks.to_string().parse(), Ok(marks.clone()));
    }
    assert_eq!(marks.to_string(), " 1099511627776 00000000000000030000000700000000ffffffffffffffff");
    assert_eq!(marks.end(), (1 << 40) + APART_MAX + 1);
}

#[test]
fn a_text_of_no_marks_is_refused() {
    for text in [
        " ",
        "1 0000000000000000",
        " 1 ",
        " x 0000000000000000",
        " 1 000000000000000",
        " 1 00000000000000000",
        " 1 000000000000000G",
        " 1 00000000000000AA",
        " 1 +000000000000000",
        " 1 0000000000000001",
        " 18446744073709551615 0000000000000000000000010000000f",
        " 1 00000001000000000000000000000000",
        " 01 0000000000000000",
        " 1 éééééééé",
    ] {
        assert_eq!(text.parse::<Marks>(), Err(NoMarks), "{text:?}");
    }
}

#[test]
fn marks_below_the_low_end_are_dropped() {
    let mut marks = Marks::default();
    marks.set(1, 10);
    marks.set(2, 11);
    marks.settle(11);
    assert_eq!((marks.of(1), marks.of(2)), (None, Some(11)));
}
