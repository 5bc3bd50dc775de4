/* Wrong calls through the shared library are errors: built with ASan and UBSan, which would end the program. The Rust test
 * of the same name has the whole list. misuse MODEL */
#include <ocelli.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void expect(int line, OcelliStatus found, OcelliStatus right, const char *words) {
    if (found != right || (right != OCELLI_OK && !strstr(ocelli_last_error(), words))) {
        fprintf(stderr, "line %d: %s, not %s: %s\n", line, ocelli_status_name(found), ocelli_status_name(right),
                ocelli_last_error());
        failures++;
    }
}
#define OK(call) expect(__LINE__, call, OCELLI_OK, "")
#define REFUSED(call, right, words) expect(__LINE__, call, right, words)

int main(int argc, char **argv) {
    OcelliModel *model = NULL;
    OcelliRuntime *runtime = NULL;
    OcelliImageEncoder *encoder = NULL;
    OcelliModelInfo info;
    int local = 0;
    if (argc != 2) return 2;
    OK(ocelli_check_abi(OCELLI_ABI_VERSION));
    REFUSED(ocelli_check_abi(0), OCELLI_BAD_ARGUMENT, "version 0");
    REFUSED(ocelli_model_open(NULL, 0, &model), OCELLI_NULL_POINTER, "path");
    REFUSED(ocelli_model_open("nowhere", 0, &model), OCELLI_FILE, "nowhere");
    REFUSED(ocelli_model_open(argv[1], 0, NULL), OCELLI_NULL_POINTER, "handle");
    OK(ocelli_model_open(argv[1], 0, &model));
    OK(ocelli_runtime_new(1, NULL, &runtime));
    OK(ocelli_image_encoder_new(model, runtime, NULL, &encoder));
    OK(ocelli_model_info(model, &info));

    /* Handles that are none. */
    REFUSED(ocelli_model_info((OcelliModel *)encoder, &info), OCELLI_BAD_HANDLE, "an image encoder");
    REFUSED(ocelli_model_info((OcelliModel *)(void *)&local, &info), OCELLI_BAD_HANDLE, "no handle");
    REFUSED(ocelli_model_free((OcelliModel *)runtime), OCELLI_BAD_HANDLE, "a runtime");

    /* Buffers at the very end of their memory: one element less is refused, and what is enough is not overrun. */
    size_t dim = info.embed_dim;
    float *out = malloc(dim * sizeof *out);
    uint8_t *pixels = malloc(40 * 30 * 3 + 1);
    if (!out || !pixels) return 1;
    memset(pixels, 7, 40 * 30 * 3 + 1);
    OcelliImage image;
    memset(&image, 0, sizeof image);
    image.format = OCELLI_RGB;
    image.width = 40;
    image.height = 30;
    image.planes[0].data = pixels + 1;
    image.planes[0].len = 40 * 30 * 3;
    image.planes[0].stride = 120;
    OK(ocelli_image_encoder_embed(encoder, &image, 1, out, dim));
    REFUSED(ocelli_image_encoder_embed(encoder, &image, 1, out, dim - 1), OCELLI_BUFFER_SIZE, "must have");
    REFUSED(ocelli_image_encoder_embed(encoder, NULL, 1, out, dim), OCELLI_NULL_POINTER, "images");
    REFUSED(ocelli_image_encoder_embed(encoder, &image, 1, NULL, dim), OCELLI_NULL_POINTER, "embeddings");
    void *odd = (char *)out + 1;
    REFUSED(ocelli_image_encoder_embed(encoder, &image, 1, odd, dim), OCELLI_MISALIGNED, "multiple of 4");
    image.planes[0].len--;
    REFUSED(ocelli_image_encoder_embed(encoder, &image, 1, out, dim), OCELLI_BAD_ARGUMENT, "too short");
    image.planes[0].data = NULL;
    REFUSED(ocelli_image_encoder_embed(encoder, &image, 1, out, dim), OCELLI_NULL_POINTER, "plane");

    /* Freed in any order, and twice. */
    OK(ocelli_model_free(model));
    OK(ocelli_runtime_free(runtime));
    image.planes[0].data = pixels;
    image.planes[0].len = 40 * 30 * 3;
    OK(ocelli_image_encoder_embed(encoder, &image, 1, out, dim));
    REFUSED(ocelli_model_free(model), OCELLI_BAD_HANDLE, "freed before");
    REFUSED(ocelli_model_info(model, &info), OCELLI_BAD_HANDLE, "freed before");
    OK(ocelli_image_encoder_free(encoder));
    REFUSED(ocelli_image_encoder_free(encoder), OCELLI_BAD_HANDLE, "freed before");
    REFUSED(ocelli_image_encoder_embed(encoder, &image, 1, out, dim), OCELLI_BAD_HANDLE, "freed before");
    OK(ocelli_image_encoder_free(NULL));
    if (strcmp(ocelli_status_name(99), "unknown") != 0) failures++;
    free(out);
    free(pixels);
    printf("%d failures\n", failures);
    return failures != 0;
}
