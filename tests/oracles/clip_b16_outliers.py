"""Writes a full-size CLIP B/16 image tower with random weights and injected outliers; docs/quantization.md says which.

    python clip_b16_outliers.py OUT outliers     # or: plain
"""
import json, os, sys
import torch
from safetensors.torch import save_file
out, kind = sys.argv[1], sys.argv[2]
os.makedirs(out, exist_ok=True)
F = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../fixtures/clip-hf/')
p=json.load(open(F+'preprocessor_config.json')); p['size']={'shortest_edge':224}; p['crop_size']={'height':224,'width':224}
json.dump(p, open(out+'/preprocessor_config.json','w'))
D,M,L,E=768,3072,12,512
t=lambda w,h:{'hidden_size':w,'intermediate_size':4*w,'num_hidden_layers':L,'num_attention_heads':h,'image_size':224,'patch_size':16,'eos_token_id':49407}
json.dump({'model_type':'clip','projection_dim':E,'vision_config':t(768,12),'text_config':t(512,8)}, open(out+'/config.json','w'))
g=torch.Generator().manual_seed(7)
R=lambda *s,d=1.0: torch.randn(*s,generator=g)*d
T={'logit_scale':torch.tensor(4.6),
 'visual_projection.weight':R(E,D,d=D**-.5),
 'vision_model.embeddings.class_embedding':R(D,d=.5),
 'vision_model.embeddings.patch_embedding.weight':R(D,3,16,16,d=768**-.5),
 'vision_model.embeddings.position_embedding.weight':R(197,D,d=.5)}
def norm(n):
    T[n+'.weight']=torch.exp(R(D,d=.25)); T[n+'.bias']=R(D,d=.1)
norm('vision_model.pre_layrnorm'); norm('vision_model.post_layernorm')
for i in range(L):
    b=f'vision_model.encoder.layers.{i}.'
    for q in 'qkv': T[b+f'self_attn.{q}_proj.weight']=R(D,D,d=(1.0 if q!='v' else 1)*D**-.5); T[b+f'self_attn.{q}_proj.bias']=R(D,d=.1)
    T[b+'self_attn.out_proj.weight']=R(D,D,d=D**-.5); T[b+'self_attn.out_proj.bias']=R(D,d=.1)
    T[b+'mlp.fc1.weight']=R(M,D,d=D**-.5); T[b+'mlp.fc1.bias']=R(M,d=.1)
    T[b+'mlp.fc2.weight']=R(D,M,d=M**-.5); T[b+'mlp.fc2.bias']=R(D,d=.1)
    norm(b+'layer_norm1'); norm(b+'layer_norm2')
if kind=='outliers':
    ch=torch.tensor([133,408,702])
    lays=[f'vision_model.encoder.layers.{i}.' for i in range(L)]
    # three residual channels about 100 times the median in every token
    T['vision_model.pre_layrnorm.bias'][ch]+=torch.tensor([100.,-60.,40.])
    # a unit of block 1 that fires on some tokens and writes above 100 into those channels
    T[lays[1]+'mlp.fc1.bias'][5]=-3.0
    T[lays[1]+'mlp.fc2.weight'][ch,5]=torch.tensor([120.,-90.,60.])
    for b in lays:
        for n in ['layer_norm1','layer_norm2']:
            w=T[b+n+'.weight']; w*=4.5*torch.exp(R(D,d=.3)); w[ch]=torch.tensor([.3,.5,.4])
            big=torch.randperm(D,generator=g)[:12]; w[big]*=40
            T[b+n+'.bias'][big]*=40
            for m in (['self_attn.q_proj','self_attn.k_proj','self_attn.v_proj'] if n=='layer_norm1' else ['mlp.fc1']):
                T[b+m+'.weight'][:,big]/=40
        T[b+'mlp.fc1.bias'][:2]+=torch.tensor([18.,11.])
    T['vision_model.post_layernorm.weight'][ch]=.05
save_file({k:v.contiguous() for k,v in T.items()}, out+'/model.safetensors')
