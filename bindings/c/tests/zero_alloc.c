/* Embedding and classifying through the shared library call no allocator, on any thread: this program's malloc and its
 * relatives stand before the C library's, and count. zero_alloc MODEL */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <ocelli.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_int counting, allocations;

static void count(void) {
    if (atomic_load(&counting)) atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    count();
    return __libc_calloc(n, size);
}
void *realloc(void *old, size_t size) {
    count();
    return __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **out, size_t alignment, size_t size) {
    count();
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

#define OK(call)                                                                 \
    do {                                                                         \
        if ((call) != OCELLI_OK) {                                               \
            fprintf(stderr, "line %d: %s\n", __LINE__, ocelli_last_error());     \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

int main(int argc, char **argv) {
    OcelliModel *model = NULL;
    OcelliRuntime *runtime = NULL;
    OcelliImageEncoder *encoder = NULL;
    OcelliClassifier *classifier = NULL;
    OcelliModelInfo info;
    if (argc != 2) return 2;
    /* Making things allocates, through the functions above: the counter counts. */
    atomic_store(&counting, 1);
    OK(ocelli_model_open(argv[1], 0, &model));
    OK(ocelli_runtime_new(2, NULL, &runtime));
    OK(ocelli_image_encoder_new(model, runtime, &(OcelliImageOptions){.batch = 4}, &encoder));
    OK(ocelli_classifier_new(model, runtime, NULL, NULL, &classifier));
    OK(ocelli_model_info(model, &info));
    atomic_store(&counting, 0);
    if (atomic_exchange(&allocations, 0) < 10) {
        fprintf(stderr, "the counter does not count\n");
        return 1;
    }

    enum { WIDTH = 640, HEIGHT = 480, FRAMES = 50 };
    size_t size = WIDTH * HEIGHT * 3;
    uint8_t *pixels = malloc(size);
    float *out = malloc(4 * info.embed_dim * sizeof *out);
    if (!pixels || !out) return 1;
    for (size_t i = 0; i < size; i++) pixels[i] = (uint8_t)(i * 31);
    OcelliImage images[4];
    const uint32_t formats[4] = {OCELLI_RGB, OCELLI_I420, OCELLI_NV12, OCELLI_YUYV};
    const size_t strides[4] = {3 * WIDTH, WIDTH, WIDTH, 2 * WIDTH};
    for (int i = 0; i < 4; i++)
        images[i] = (OcelliImage){.format = formats[i],
                                  .width = WIDTH,
                                  .height = HEIGHT,
                                  .planes = {{.data = pixels, .len = size, .stride = strides[i]}}};

    atomic_store(&counting, 1);
    for (int i = 0; i < FRAMES; i++) {
        OcelliScore best[3];
        char label[64];
        OK(ocelli_image_encoder_embed(encoder, &images[i % 4], 1, out, info.embed_dim));
        OK(ocelli_image_encoder_embed(encoder, images, 4, out, 4 * info.embed_dim));
        OK(ocelli_classifier_classify(classifier, &images[i % 4], best, 3, NULL));
        OK(ocelli_classifier_label(classifier, best[0].label, label, sizeof label, NULL));
    }
    atomic_store(&counting, 0);
    int found = atomic_load(&allocations);
    printf("%d frames, %d allocations\n", 6 * FRAMES, found);
    free(pixels);
    free(out);
    OK(ocelli_classifier_free(classifier));
    OK(ocelli_image_encoder_free(encoder));
    OK(ocelli_runtime_free(runtime));
    OK(ocelli_model_free(model));
    return found != 0;
}
