#![cfg_attr(fuzzing, no_main)]

ocelli_fuzz::target!(mjpeg);
