"""Which tests prove which row of the faults a user can meet; one that is removed or renamed is noticed here.

Rows are numbered as in the list of faults: 1 a corrupt image, 22 a link out of the root, 68 no network, …
"data/decode::x" stands for tests/data/test_decode.py::test_x.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ODD = [  # every odd file at once: what the audit finds, what training quarantines, what prediction answers
    "audit/findings::rows_1_to_15_a_folder_of_bad_files_every_kind_found_named_and_counted",
    "stages/faults::training_takes_what_it_can_and_quarantines_the_rest",
    "stages/faults::prediction_gives_each_file_its_own_row",
]
MIXED = "stages/faults::rows_12_13_21_22_what_a_source_leaves_out_is_a_row_of_the_prediction"
LISTS = "faults_cli::rows_22_28_30_31_of_a_list"
TOUCHED = "stages/faults::rows_50_52_a_model_that_was_touched_is_not_used"

ROWS: dict[int, list[str]] = {
    1: [*ODD, "data/decode::each_bad_file_has_its_code",
        "stages/faults::row_1_more_than_the_allowed_share_ends_the_run"],
    2: [*ODD, "data/decode::truncated_only_where_allowed",
        "stages/faults::row_2_truncated_images_are_used_only_where_allowed"],
    3: [*ODD, "data/decode::size_is_refused_from_the_header", "data/decode::the_largest_size_is_one_below_the_limit"],
    5: [*ODD, "data/decode::the_first_picture_of_an_animation"],
    6: [*ODD, "data/decode::cmyk_golden_pixels", "data/decode::ycck_golden_pixels"],
    7: [*ODD, "data/decode::16_bits_are_scaled_not_clipped", "data/decode::floats_by_their_range"],
    8: ["data/decode::orientation_is_applied_in_every_format",
        "stages/faults::row_8_orientation_is_the_same_everywhere"],
    9: ["data/decode::transparent_pixels_show_the_background_exactly",
        "stages/faults::row_9_hidden_colours_never_leak"],
    10: [*ODD, "data/colour::a_linear_profile_becomes_the_srgb_curve",
        "data/colour::a_broken_profile_is_ignored_and_noted",
        "stages/faults::row_10_a_broken_profile_is_told_by_whoever_reads"],
    11: [*ODD, "data/sniff::formats_by_their_bytes"],
    12: [MIXED, "data/folders::row_12_system_files_skipped_and_counted_unnamed_ones_sniffed"],
    13: [*ODD, MIXED, "data/folders::row_13_formats_that_are_never_opened",
        "data/decode::the_parser_of_a_refused_format_is_never_reached"],
    14: ["data/decode::heic_without_its_package_names_the_extra", "stages/faults::row_14_heic_without_its_package"],
    15: [*ODD],
    16: ["data/folders::row_16_empty_class_folder", "faults_cli::row_16_an_empty_class_folder",
        "faults_cli::row_16_left_out_where_asked"],
    17: ["data/split::row_17_a_class_of_one_image_trains", "stages/faults::row_17_a_class_of_one_image_has_no_score"],
    20: ["data/split::row_20_the_same_image_under_two_labels",
        "audit/findings::rows_18_and_20_duplicates_conflicts_and_leaks",
        "stages/faults::row_20_one_image_under_two_labels_is_not_learned"],
    21: [MIXED, "data/folders::row_21_an_unreadable_folder_is_listed_and_the_scan_goes_on",
        "stages/faults::row_21_files_that_have_gone_are_listed_and_count"],
    22: [MIXED, LISTS, "data/folders::row_22_links", "data/delimited::row_22_paths_outside_the_root",
        "data/saved::row_22_a_reference_that_leaves_the_root_is_refused",
        "data/saved::row_22_a_link_out_of_the_root_is_refused_when_a_table_is_opened"],
    23: ["data/folders::row_23_names_that_differ_by_case_only"],
    24: ["data/folders::row_24_korean_names", "data/delimited::row_24_names_match_by_nfc",
        "faults_cli::row_24_names_that_are_one_in_nfc"],
    25: ["data/archives::row_25_names_over_255_bytes", "stages/sort::row_25_names_over_255_bytes_become_short_ones"],
    26: ["data/folders::row_26_odd_names_survive", "report/page::hostile_text_stays_text",
        "stages/sort::row_26_hostile_labels_and_names_stay_inside", "stages/faults::row_26_names_that_are_no_text"],
    27: ["data/delimited::row_27_encoding_and_delimiter", "data/delimited::row_27_overridable",
        "faults_cli::row_27_what_was_found_can_be_overruled"],
    28: [LISTS, "data/delimited::row_28_missing_files", "stages/faults::row_28_a_list_with_missing_files"],
    29: ["data/delimited::image_label_split_and_extra_columns",
        "faults_cli::rows_27_29_a_list_as_a_spreadsheet_writes_it"],
    30: [LISTS, "data/delimited::row_30_repeated_rows_merge", "data/delimited::row_30_conflicting_rows"],
    31: [LISTS, "data/labels::row_31_spaced_labels_are_never_merged_silently", "data/labels::row_31_blank_labels",
        "data/labels::row_31_unknown_label_where_the_classes_are_stated",
        "faults_cli::row_31_nothing_is_merged_but_on_request"],
    32: ["stages/resume::classes_in_another_order_are_refused",
        "stages/faults::row_32_classes_in_another_order_are_not_evaluated"],
    33: ["data/compare::row_33_what_changed_is_shown", "stages/resume::changed_data_are_refused_and_shown",
        "stages/faults::row_33_evaluation_says_that_images_have_changed"],
    34: ["stages/resume::killed_anywhere_and_resumed_is_bit_identical"],
    35: ["engine/loop::killed_while_saving_the_checkpoint_before_it_is_whole",
        "core/files::a_failed_write_keeps_the_old_file_and_leaves_nothing"],
    36: ["data/cache_file::killed_at_a_moment", "data/cache_file::killed_at_any_moment"],
    37: ["engine/loop::two_checkpoints_are_kept_and_a_damaged_one_is_passed_over",
        "stages/resume::a_damaged_last_checkpoint_gives_way_to_the_one_before"],
    38: ["stages/resume::a_polite_signal_saves_and_exits_5", "stages/signals::a_second_signal_ends_the_process"],
    39: ["data/cache_file::a_full_disk_ends_the_writing_only",
         "data/cache_file::a_file_that_the_system_lets_not_grow"],
    40: ["engine/loop::what_the_devices_memory_does_not_hold_goes_in_parts",
         "engine/loop::a_device_too_small_for_two_images_is_a_clear_end"],
    41: ["data/cache_account::never_more_than_the_share", "data/cache::a_full_cache_keeps_what_it_has"],
    42: ["engine/loop::a_loss_that_is_not_finite_ends_the_run",
         "engine/loop::row_42_the_images_of_the_first_bad_batch_are_named_and_kept"],
    43: ["data/loading::an_error_in_a_thread_ends_the_epoch_and_is_named",
         "scale/launch::row_43_a_rank_that_died_is_named_and_started_again_once"],
    45: ["core/files::row_45_a_second_process_is_refused_and_told_who_holds_it",
        "stages/resume::a_second_run_in_the_same_folder_is_told_who_holds_it"],
    46: ["core/files::row_46_the_lock_of_a_killed_process_is_taken_over",
        "core/files::row_46_the_lock_of_another_host_is_never_stolen",
        "core/files::row_46_without_locks_of_the_file_system",
        "faults_cli::rows_45_46_a_folder_that_another_process_holds"],
    50: [TOUCHED, "deploy/safety::a_pickled_file_beside_the_weights_is_refused",
        "deploy/convert::without_trust_nothing_is_read", "deploy/convert::what_a_hostile_file_tries_is_stopped"],
    51: ["deploy/safety::remote_code_is_refused_however_deep", "deploy/safety::code_inside_the_folder_never_runs"],
    52: [TOUCHED, "deploy/safety::a_changed_byte_is_refused", "deploy/safety::a_missing_file_is_refused"],
    54: ["data/archives::row_54_tar_members_that_are_not_files_or_climb_out",
        "data/archives::row_54_zip_members_that_climb_out_or_are_links", "data/archives::row_54_bombs",
        "stages/faults::row_54_a_hostile_archive_is_read_in_place"],
    66: [*ODD, "deploy/model::a_bad_image_is_an_error_for_itself_alone",
        "stages/faults::row_66_one_bad_image_among_good_ones"],
    67: ["core/events::row_67_secrets_are_redacted", "stages/faults::row_67_secrets_of_the_environment_reach_no_file"],
    68: ["models/pretrained::offline_names_the_weights_and_the_remedy",
        "stages/faults::row_68_missing_weights_are_named"],
}  # fmt: skip


@cache
def functions(file: str) -> frozenset[str]:
    """The names of the functions of tests/<file>."""
    tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_tests_that_are_there(row: int) -> None:
    assert ROWS[row]
    for test in ROWS[row]:
        place, _, name = test.partition("::")
        folder, _, file = place.rpartition("/")
        path = f"{folder}/test_{file}.py" if folder else f"test_{file}.py"
        assert f"test_{name}" in functions(path), f"row {row}: {path}::test_{name} is gone"
